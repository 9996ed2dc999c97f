"""What is learned: coordinates of s and b in which a step of the same size means the same everywhere.

The factor of a row is c(n) = s log n + b. Over a document log n hardly varies beside its mean, so s and b alone pull at
the same thing: raising s by 0.01 and lowering b by 0.09 changes almost nothing. So log n is centred and divided by its
spread, over the rows as they count in the loss: c(n) = start(n) + x + y (log n - mean) / spread. x moves all rows
alike, y tilts them, and a change of 1 in either changes the factor of a typical row by 1.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ssmax_eval.attention import Shape, SSMax
from ssmax_eval.attention.parameters import PerHead

DIGITS = 6
"""Decimals of a number in a table."""
Table = float | tuple[tuple[float, ...], ...]
"""A number for the model, or [layers][heads]."""


class Values(NamedTuple):
    """s and b, float64 [layers, heads]; one column, and one row, where they are shared."""

    s: Tensor
    b: Tensor


class Tables(NamedTuple):
    """s and b as they are written down."""

    s: Table
    b: Table


def position_weights(lengths: tuple[int, ...]) -> Tensor:
    """Return the weight of every predicted position 1 ... longest - 1, float64 [longest - 1], which sum to 1.

    Position t is predicted by the row that sees n = t keys. The stretches that end at `lengths` count the same.
    """
    sizes = [stop - start for start, stop in pairwise([1, *lengths])]
    return torch.cat([torch.full((size,), 1 / size, dtype=torch.float64) for size in sizes]) / len(sizes)


@dataclass(frozen=True)
class Factors:
    """The coordinates that are learned, and the s and b that they stand for."""

    start: Values
    """Where the calibration starts, [layers, heads] or as few as have numbers of their own."""
    basis: Tensor
    """How s (first row) and b (second) go with the coordinates, float64 [2, coordinates]."""

    @classmethod
    def of(cls, shape: Shape, per: str, fit: tuple[str, ...], start: SSMax, weights: Tensor) -> "Factors":
        """Return those of a checkpoint; `weights` are those of `position_weights`."""
        log_n = torch.arange(1, len(weights) + 1, dtype=torch.float64).log()
        mean = float((weights * log_n).sum())
        spread = float((weights * (log_n - mean) ** 2).sum()) ** 0.5 or 1.0
        size = (mean**2 + spread**2) ** 0.5
        basis = {
            ("s", "b"): [[0.0, 1 / spread], [1.0, -mean / spread]],
            ("s",): [[1 / size], [0.0]],
            ("b",): [[0.0], [1.0]],
        }[fit]
        begin = [_shared(getattr(start, name), shape, per) for name in ("s", "b")]
        return cls(Values(*begin), torch.tensor(basis, dtype=torch.float64))

    def zeros(self) -> Tensor:
        """Return the coordinates of the start, float64 [layers or 1, heads or 1, coordinates]."""
        return torch.zeros(*self.start.s.shape, self.basis.shape[1], dtype=torch.float64)

    def values(self, coordinates: Tensor) -> Values:
        """Return s and b."""
        return Values(self.start.s + coordinates @ self.basis[0], self.start.b + coordinates @ self.basis[1])


def tables(values: Values, shape: Shape) -> Tables:
    """Return s and b as a table holds them, rounded: one number where the model shares it, else [layers][heads]."""
    return Tables(*(_written(one, shape) for one in values))


def _written(values: Tensor, shape: Shape) -> Table:
    if values.numel() == 1:
        return round(float(values), DIGITS)
    wide = values.expand(shape.layers, shape.heads).tolist()
    return tuple(tuple(round(value, DIGITS) for value in heads) for heads in wide)


def _shared(value: PerHead | None, shape: Shape, per: str) -> Tensor:
    """A parameter at the start: the mean over what shares a number. Layers that do not attend have 0."""
    if value is None or isinstance(value, float | int | Tensor):
        wide = torch.full((shape.layers, shape.heads), float(value or 0.0), dtype=torch.float64)
    else:
        rows = [torch.tensor(heads or (0.0,) * shape.heads, dtype=torch.float64) for heads in value]
        wide = torch.stack(rows)
    return {"head": wide, "layer": wide.mean(1, keepdim=True), "model": wide.mean().reshape(1, 1)}[per]
