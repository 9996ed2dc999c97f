"""The family that multiplies the scores of a row by a factor: one scaled query, then the fused kernel."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Call, Rows, at_least_one
from ssmax_eval.attention.functions import masked_softmax
from ssmax_eval.attention.kernels import chunk, parts
from ssmax_eval.errors import UserError


def scaled_query(attention: "ScaledSoftmax", call: Call) -> Tensor | None:
    """Return the output by torch's fused kernel on c(n) · q; None where the model asks for more than softmax."""
    if call.extras.names():
        return None
    query, key, value, visible = call.query, call.key, call.value, call.visible
    n = visible.counts(query.device)
    c = attention.factor_of(at_least_one(n, query), call.layer, query.shape[1])
    if c is not None:
        query = (c * query).to(query.dtype)
    mask = visible.mask
    if mask is None and 1 < visible.rows < visible.keys:  # where sdpa's own causal mask would align the first rows
        return chunk.attend(query, key, value, call.scaling)
    output = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        is_causal=mask is None and visible.rows > 1,
        scale=call.scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output if mask is None else output.masked_fill(n == 0, 0.0)


def scaled_parts(attention: "ScaledSoftmax", call: Call) -> Tensor | None:
    """Return the same under a position map, by a fused kernel on each of its parts; None where that does not apply."""
    if not parts.takes(call):
        return None

    def factor(n: Tensor) -> Tensor | None:
        return attention.factor_of(at_least_one(n, call.query), call.layer, call.query.shape[1])

    return parts.attend(call, factor)


@dataclass(frozen=True)
class ScaledSoftmax(Attention):
    """softmax(c(n_i) · z_i): a subclass says what c is."""

    honours = frozenset({"softcap", "bias", "sink"})
    kernels = (scaled_query,)
    part_kernels = (scaled_parts,)

    @abstractmethod
    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        """Return c for rows that see `n` keys (floating point, [.., .., R, 1], at least 1), or None for 1.

        Heads, where they differ, are axis 1 of the result.
        """

    def factor_of(self, n: Tensor, layer: int, heads: int) -> Tensor | None:
        """Return `factor` for a layer of `heads` heads. UserError where the parameters are for another number."""
        c = self.factor(n, layer)
        if c is not None and c.ndim == 4 and c.shape[1] not in (1, n.shape[1], heads):
            raise UserError(
                f"layer {layer} has {heads} heads, but the parameters of {type(self).__name__} are for {c.shape[1]}; "
                "a model whose layers differ in heads takes one number for all of them, as in ssmax:s=0.1"
            )
        return c

    def weights(self, rows: Rows) -> Tensor:
        c = self.factor_of(rows.n, rows.layer, rows.query.shape[1])
        if c is None:
            return masked_softmax(rows.scores, rows.visible, rows.sink)
        return masked_softmax(c * rows.scores, rows.visible, None if rows.sink is None else c * rows.sink)


def scales_query(attention: Any) -> TypeGuard[ScaledSoftmax]:
    """Whether softmax on a scaled query is all that an attention is, so that any softmax kernel can compute it."""
    return isinstance(attention, ScaledSoftmax) and scaled_query in attention.kernels
