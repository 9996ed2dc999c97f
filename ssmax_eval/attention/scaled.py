"""The family that multiplies the scores of a row by a factor: one scaled query, then the fused kernel."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ssmax_eval.attention.base import Attention, Visible, masked_softmax, scores
from ssmax_eval.attention.extras import PLAIN, Extras
from ssmax_eval.attention.kernels import chunk


@dataclass(frozen=True)
class ScaledSoftmax(Attention):
    """softmax(c(n_i) · z_i): a subclass says what c is."""

    honours: ClassVar[frozenset[str]] = frozenset({"softcap", "bias", "sink"})

    @abstractmethod
    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        """c for rows that see `n` keys (floating point, [.., .., R, 1], at least 1), or None for 1.

        Heads, where they differ, are axis 1 of the result.
        """

    def weights(
        self, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int, extras: Extras = PLAIN
    ) -> Tensor:
        z, sink = extras.applied(scores(query, key, scaling)), extras.sink
        c = self.factor(visible.sum(-1, keepdim=True).clamp(min=1).to(z.dtype), layer)
        if c is not None:
            z, sink = c * z, None if sink is None else c * sink
        return masked_softmax(z, visible, sink)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        visible: Visible,
        scaling: float,
        layer: int,
        extras: Extras = PLAIN,
    ) -> Tensor:
        if extras.named():
            return super().forward(query, key, value, visible, scaling, layer, extras)
        n = visible.counts(query.device)
        precision = torch.float64 if query.dtype == torch.float64 else torch.float32
        c = self.factor(n.clamp(min=1).to(precision), layer)
        if c is not None:
            query = (c * query).to(query.dtype)
        mask = visible.mask
        if mask is None and 1 < visible.rows < visible.keys:  # where sdpa's own causal mask would align the first rows
            return chunk.attend(query, key, value, scaling)
        output = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None and visible.rows > 1,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return output if mask is None else output.masked_fill(n == 0, 0.0)
