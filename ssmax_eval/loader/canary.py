"""A short forward pass that must succeed before anything is measured."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ssmax_eval.attention.softmax import Softmax
from ssmax_eval.errors import UserError
from ssmax_eval.loader.rewriting import Rewriting, _implementations

LENGTH = 24
"""Tokens of the canary's input."""
CHANGED = 8
"""Last tokens that are changed to see whether an earlier row notices."""


@torch.inference_mode()
def verify_rewriting(hf: PreTrainedModel, rewriting: Rewriting) -> None:
    """Prove, on a few tokens, that the rewritten model is what it claims to be; UserError otherwise.

    Its output is finite; every attention layer went through our function, once; no row saw the future; and with
    plain softmax in the same place the model gives its own logits, so nothing that it passes was lost on the way.
    """
    name = type(hf).__name__
    rewriting.calls.clear()
    ids, changed = _inputs(hf)
    logits = hf(input_ids=ids, use_cache=False).logits
    if not bool(logits.isfinite().all()):
        raise UserError(f"{name} gives NaN or infinite logits on {LENGTH} ordinary tokens; its weights are broken")
    expected, seen = _attention_layers(hf), dict(rewriting.calls)
    if len(seen) != expected or set(seen.values()) != {1}:
        raise UserError(
            f"only {len(seen)} of the {expected} attention layers of {name} went through the rewritten attention"
        )
    exact = hf.dtype in (torch.float32, torch.float64)
    kept = LENGTH - CHANGED
    if _difference(hf(input_ids=changed, use_cache=False).logits[:, :kept], logits[:, :kept]) > (
        1e-5 if exact else 2e-2
    ):
        raise UserError(f"{name} lets a row see the future under the rewritten attention; it is refused")
    mine = rewriting.attention
    try:
        rewriting.attention = Softmax()
        softmax = hf(input_ids=ids, use_cache=False).logits
    finally:
        rewriting.attention = mine
    rewriting.calls.clear()
    if (error := _difference(softmax, _own_logits(hf, ids))) > (1e-3 if exact else 5e-2):
        raise UserError(
            f"softmax in the rewritten place does not give {name}'s own logits (relative error {error:.2g}); "
            "it does something in its attention that is not honoured, so it is refused"
        )


def _inputs(hf: PreTrainedModel) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vocabulary = hf.get_input_embeddings().num_embeddings
    ids = torch.randint(vocabulary, (1, LENGTH), generator=generator).to(hf.get_input_embeddings().weight.device)
    changed = ids.clone()
    changed[:, -CHANGED:] = (changed[:, -CHANGED:] + 1) % vocabulary
    return ids, changed


def _own_logits(hf: PreTrainedModel, ids: Tensor) -> Tensor:
    """The model's logits under transformers' own attention: sdpa where the architecture has it, else eager."""
    ours = _implementations(hf)
    for config, _ in ours:
        config._attn_implementation_internal = "sdpa" if hf._supports_sdpa else "eager"
    try:
        logits: Tensor = hf(input_ids=ids, use_cache=False).logits
        return logits
    finally:
        for config, implementation in ours:
            config._attn_implementation_internal = implementation


def _attention_layers(hf: PreTrainedModel) -> int:
    config = hf.config.get_text_config(decoder=True)
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return sum("attention" in kind and "linear" not in kind for kind in kinds)
    return int(config.num_hidden_layers)


def _difference(a: Tensor, b: Tensor) -> float:
    """Root mean square of a - b, relative to the spread of b."""
    a, b = a.double(), b.double()
    return float((a - b).square().mean().sqrt() / b.std().clamp(min=1e-12))
