"""Rectified linear attention (Zhang, Titov & Sennrich, arXiv 2104.07012)."""

from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Rows


@dataclass(frozen=True)
class ReLA(Attention):
    """relu(z_i): each key for itself, and no row sums to 1.

    The paper has a gated norm after this, on the output of each head. That is no part of the weights, so a checkpoint
    that holds one is refused by name (`checkpoint.complete`).
    """

    honours = frozenset({"softcap", "bias"})

    def weights(self, rows: Rows) -> Tensor:
        return rows.scores.relu().masked_fill(~rows.visible, 0.0)
