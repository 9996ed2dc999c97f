"""A short forward pass that must succeed before anything is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ssmax_eval.attention.softmax import Softmax
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import seam
from ssmax_eval.rewriting.rewriting import Rewriting

LENGTH = 24
"""Tokens of the canary's input."""
CHANGED = 8
"""Last tokens that are changed to see whether an earlier row notices."""
UNNORMALISED = ("Linear", "Lightning", "Delta", "Recurrent")
"""In the names of layers that are called attention but have no rows of weights."""


@torch.inference_mode()
def verify_rewriting(hf: PreTrainedModel, rewriting: Rewriting) -> None:
    """Prove, on a few tokens, that a model is rewritten faithfully. UserError otherwise.

    Its output is finite. Every attention layer went through our function. No row saw the future. And with plain
    softmax in the same place, at the model's own positions, the model gives its own logits, so that nothing it passes
    was lost on the way.
    """
    name = type(hf).__name__
    rewriting.calls.clear()
    ids, changed = inputs(hf)
    with _watched(hf, rewriting) as reached:
        logits = hf(input_ids=ids, use_cache=False).logits
    refuse_not_finite(name, logits)
    if bypassed := [layer for layer, there in reached.items() if not there]:
        raise UserError(
            f"only {len(reached) - len(bypassed)} of the {len(reached)} attention layers of {name} "
            f"went through the rewritten attention; {bypassed[0]!r} did not"
        )
    if not rewriting.calls:
        raise UserError(f"no layer of {name} attends; there is nothing to rewrite")
    if sees_the_future(hf, changed, logits):
        raise UserError(f"{name} lets a row see the future under the rewritten attention; it is refused")
    mine = rewriting.attention, rewriting.position
    try:
        rewriting.attention, rewriting.position = Softmax(), None
        softmax = hf(input_ids=ids, use_cache=False).logits
    finally:
        rewriting.attention, rewriting.position = mine
    rewriting.calls.clear()
    if (error := difference(softmax, _own_logits(hf, ids))) > (1e-3 if _exact(hf) else 5e-2):
        raise UserError(
            f"softmax in the rewritten place does not give {name}'s own logits (relative error {error:.2g}); "
            "part of what its attention does would be lost, so it is refused"
        )


@torch.inference_mode()
def verify_unrewritten(hf: PreTrainedModel) -> None:
    """Prove, on a few tokens, that a model as it is gives finite logits and is causal. UserError otherwise."""
    ids, changed = inputs(hf)
    logits = hf(input_ids=ids, use_cache=False).logits
    refuse_not_finite(type(hf).__name__, logits)
    if sees_the_future(hf, changed, logits):
        raise UserError(f"{type(hf).__name__} is not causal: a row changes with tokens that come after it")


def refuse_not_finite(name: str, logits: Tensor) -> None:
    """Raise UserError where any logit is NaN or infinite."""
    if not bool(logits.isfinite().all()):
        raise UserError(f"{name} gives NaN or infinite logits on {LENGTH} ordinary tokens; its weights are broken")


def sees_the_future(hf: PreTrainedModel, changed: Tensor, logits: Tensor) -> bool:
    """Whether rows before the changed tokens have other logits than they had."""
    kept = LENGTH - CHANGED
    error = difference(hf(input_ids=changed, use_cache=False).logits[:, :kept], logits[:, :kept])
    return error > (1e-5 if _exact(hf) else 2e-2)


def _exact(hf: PreTrainedModel) -> bool:
    return hf.dtype in (torch.float32, torch.float64)


def inputs(hf: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Return random tokens, int64 [1, LENGTH], and the same with the last of them changed."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = hf.get_input_embeddings().num_embeddings
    ids = torch.randint(vocabulary, (1, LENGTH), generator=generator).to(hf.get_input_embeddings().weight.device)
    changed = ids.clone()
    changed[:, -CHANGED:] = (changed[:, -CHANGED:] + 1) % vocabulary
    return ids, changed


@contextmanager
def _watched(hf: PreTrainedModel, rewriting: Rewriting) -> Iterator[dict[str, bool]]:
    """Note for each attention module that runs inside the block, by name, whether it calls the rewritten attention."""
    reached: dict[str, bool] = {}
    before: dict[str, int] = {}
    hooks = []
    for name, module in hf.named_modules():
        if not _attends(module) or any(_attends(part) for part in module.modules() if part is not module):
            continue

        def entered(_: nn.Module, *__: Any, name: str = name) -> None:
            before[name] = rewriting.calls.total()

        def left(_: nn.Module, *__: Any, name: str = name) -> None:
            reached[name] = rewriting.calls.total() > before[name]

        hooks += [module.register_forward_pre_hook(entered), module.register_forward_hook(left)]
    try:
        yield reached
    finally:
        for hook in hooks:
            hook.remove()


def _attends(module: nn.Module) -> bool:
    name = type(module).__name__
    return name.endswith("Attention") and not any(kind in name for kind in UNNORMALISED)


def _own_logits(hf: PreTrainedModel, ids: Tensor) -> Tensor:
    """Return the model's logits under its own readable attention, which transformers calls eager."""
    with seam.running([config for config, _ in seam.implementations(hf)], "eager"):
        logits: Tensor = hf(input_ids=ids, use_cache=False).logits
        return logits


def difference(a: Tensor, b: Tensor) -> float:
    """Return the root mean square of a - b, relative to the standard deviation of b."""
    a, b = a.double(), b.double()
    return float((a - b).square().mean().sqrt() / b.std().clamp(min=1e-12))
