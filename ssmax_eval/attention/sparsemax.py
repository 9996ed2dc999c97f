"""Sparsemax (Martins & Astudillo, arXiv 1602.02068)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.entmax import by_threshold, entmax


@dataclass(frozen=True)
class Sparsemax(Attention):
    """relu(z − τ), τ so that a row sums to 1: the point of the simplex that is nearest to the scores."""

    honours = frozenset({"softcap", "bias"})
    kernels = (by_threshold,)
    order: ClassVar[float] = 2.0

    def weights(self, rows: Rows) -> Tensor:
        return entmax(rows.scores, rows.visible, self.order)
