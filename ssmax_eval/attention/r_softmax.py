"""Softmax that gives small scores no weight at all: t-softmax and r-softmax (Bałazy et al., arXiv 2304.05243)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.functions import l1_normalised
from ssmax_eval.attention.parameters import PerHead, row
from ssmax_eval.errors import UserError


def t_softmax(z: Tensor, visible: Tensor, t: Tensor | float) -> Tensor:
    """Return L1(relu(z − max z + t) · e^(z − max z)) over the visible keys."""
    below = _below_the_largest(z, visible)
    return l1_normalised((below + t).relu() * below.exp())


def _below_the_largest(z: Tensor, visible: Tensor) -> Tensor:
    """z − max z of each row; −inf where not visible."""
    z = z.masked_fill(~visible, -torch.inf)
    top = z.amax(-1, keepdim=True)
    return z - top.masked_fill(top == -torch.inf, 0.0)


@dataclass(frozen=True)
class TSoftmax(Attention):
    """L1(relu(z − max z + t) · e^(z − max z)): keys more than t below the largest score get no weight."""

    learned = ("t",)
    honours = frozenset({"softcap", "bias"})

    t: PerHead | None = None
    """Above 0; the larger, the nearer to softmax. A number or [layers][heads]. None: the checkpoint's own, else 10."""

    def __post_init__(self) -> None:
        if isinstance(self.t, float | int) and not self.t > 0:
            raise UserError(f"t must be above 0; got {self.t:g}")

    def start(self, name: str, shape: Shape) -> float:
        return 10.0

    def weights(self, rows: Rows) -> Tensor:
        t = row(10.0 if self.t is None else self.t, rows.layer, rows.scores)
        return t_softmax(rows.scores, rows.visible, t)


@dataclass(frozen=True)
class RSoftmax(Attention):
    """t-softmax with the t of each row that leaves a share r of its keys without weight."""

    honours = frozenset({"softcap", "bias"})

    r: float = 0.5
    """Share of the keys of a row that get no weight, from 0 to less than 1."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.r < 1.0:
            raise UserError(f"r must be a share, from 0 to less than 1; got {self.r:g}")

    def weights(self, rows: Rows) -> Tensor:
        below = _below_the_largest(rows.scores, rows.visible)
        t = 1e-8 - self._quantile(below, rows.visible.sum(-1, keepdim=True))
        return l1_normalised((below + t).relu() * below.exp())

    def _quantile(self, below: Tensor, count: Tensor) -> Tensor:
        """The r-quantile of the `count` visible keys of each row, between its neighbours as numpy has it."""
        ordered = below.sort(-1).values
        hidden = ordered.shape[-1] - count
        place = self.r * (count - 1).clamp(min=0).to(below.dtype)
        low = place.floor()
        ends = [(hidden + x.long()).clamp(max=ordered.shape[-1] - 1) for x in (low, place.ceil())]
        lower, upper = (ordered.gather(-1, end.expand(*ordered.shape[:-1], 1)) for end in ends)
        value = lower + (place - low) * (upper - lower)
        return value.masked_fill(count == 0, 0.0)
