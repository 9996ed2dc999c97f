"""The query of one attention layer in vLLM, multiplied by c(n); and what cannot be served in this way."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ssmax_eval.attention import Attention, describe, name_of
from ssmax_eval.attention.call import at_least_one
from ssmax_eval.attention.scaled import ScaledSoftmax, scales_query
from ssmax_eval.errors import UserError

KINDS = {"full_attention", "sliding_attention"}
"""Kinds of layers whose rows see all keys before them, or the last ones."""


@dataclass
class Scaling:
    """What one layer does to its queries, on one rank of tensor parallelism."""

    attention: ScaledSoftmax | None
    """None: the layer runs softmax."""
    layer: int
    """Number of the layer, from 0."""
    heads: int
    """Query heads of the whole layer, on all ranks together."""
    first: int = 0
    """The first head of this rank."""
    window: int | None = None
    """Keys that a row sees at most; None: all before it."""
    calls: int = field(default=0, compare=False)
    """How often the layer has attended."""

    def __call__(self, query: Tensor, positions: Tensor) -> Tensor:
        """Return c(n) · q for the heads of this rank, query [1, heads, T, D], at int64 positions [1, T] from 0."""
        self.calls += 1
        if self.attention is None:
            return query
        n = positions.reshape(1, 1, -1, 1) + 1
        if self.window is not None:
            n = n.clamp(max=self.window)
        c = self.attention.factor_of(at_least_one(n, query), self.layer, self.heads)
        if c is None:
            return query
        if c.ndim == 4 and c.shape[1] == self.heads:
            c = c[:, self.first : self.first + query.shape[1]]
        return (c * query).to(query.dtype)


def refuse_unservable(attention: Attention) -> None:
    """Raise UserError for an attention that does more than scale the query, or whose code vLLM cannot find."""
    if name_of(type(attention)) is None:
        raise UserError(
            f"{type(attention).__name__} is an attention of your own, whose code vLLM's processes do not have; "
            "measure it with --engine transformers"
        )
    if not scales_query(attention):
        raise UserError(
            f"vLLM runs attentions that only scale the query, such as ssmax and logn; {describe(attention)} does more: "
            "measure it with --engine transformers"
        )


def refuse_config(config: Any, attention: Attention) -> None:
    """Raise UserError for a model whose attention is not softmax on q · k alone, or that is not plain text."""
    text = config.get_text_config(decoder=True)
    strange = sorted(set(getattr(text, "layer_types", None) or ()) - KINDS)
    experts = any(getattr(text, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts"))
    softmax = type(attention).__name__ == "Softmax"
    reasons = {
        "is more than a model of text": text is not config,
        "has layers of experts": experts,
        "attends by latent keys": getattr(text, "kv_lora_rank", None) is not None,
        f"has layers of the kind {strange[0]!r}" if strange else "": bool(strange),
        "caps its scores, which a scaled query does not scale": bool(getattr(text, "attn_logit_softcapping", None))
        and not softmax,
    }
    if found := [reason for reason, holds in reasons.items() if holds]:
        raise UserError(
            f"a {text.model_type!r} model cannot be run by vLLM with an attention of ours: it {found[0]}; "
            "measure it with --engine transformers"
        )
