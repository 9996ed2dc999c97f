"""Sigmoid attention (Ramapuram et al., arXiv 2409.04431)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Rows


@dataclass(frozen=True)
class Sigmoid(Attention):
    """sigmoid(z_i + b): each key for itself, and no row sums to 1."""

    honours = frozenset({"softcap", "bias"})

    b: float | None = None
    """Added to every score. None: −log n_i, as the paper has it, so that equal scores of 0 sum to nearly 1."""

    def weights(self, rows: Rows) -> Tensor:
        b = -torch.log(rows.n) if self.b is None else self.b
        return torch.sigmoid(rows.scores + b).masked_fill(~rows.visible, 0.0)
