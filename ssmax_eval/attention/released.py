"""The factors by which released models scale their scores with position, for any other model. None needs training.

A position counts from 0, so a row that sees n keys has the position n − 1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.logn import FromLength, Temperature
from ssmax_eval.attention.scaled import ScaledSoftmax
from ssmax_eval.errors import UserError


@dataclass(frozen=True)
class Llama4(Temperature):
    """softmax((1 + beta · log(⌊n_i / f⌋ + 1)) · z_i): `temperature` by its model's name."""


@dataclass(frozen=True)
class _FromLength(FromLength):
    """The same, of at least two tokens."""

    def __post_init__(self) -> None:
        if self.n_train is not None and self.n_train < 2:
            raise UserError(f"n_train must be 2 tokens or more; got {self.n_train}")


@dataclass(frozen=True)
class Ministral(_FromLength):
    """softmax((1 + beta · log(1 + ⌊(n_i − 1) / n_train⌋)) · z_i): Ministral 3, Devstral 2 and Mistral 4."""

    beta: float = 0.1
    """Strength of the scaling."""

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        return 1.0 + self.beta * torch.log1p(torch.floor((n - 1.0) / self.length))


@dataclass(frozen=True)
class Grok(_FromLength):
    """softmax(log(n_i − 1) / log(n_train) · z_i) from position n_train + 1 on: Grok."""

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        return torch.where(n - 1.0 > self.length, torch.log((n - 1.0).clamp(min=1.0)) / math.log(self.length), 1.0)


@dataclass(frozen=True)
class Inkling(ScaledSoftmax):
    """softmax((1 + alpha · log(max(n_i / f, 1))) · z_i): Inkling, in its layers with full attention."""

    log_scaled = True

    alpha: float = 0.1
    """Strength of the scaling."""
    f: int = 128_000
    """Tokens up to which nothing is scaled."""

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        return 1.0 + self.alpha * torch.log((n / self.f).clamp(min=1.0))


@dataclass(frozen=True)
class Hype(ScaledSoftmax):
    """softmax(log(n_i − 1 + a) / log(a) · z_i): HypeNet and MiniCPM-SALA, at inference."""

    log_scaled = True

    a: float = 500.0
    """Position that counts as the first, in tokens; its authors' code has 362 too."""

    def __post_init__(self) -> None:
        if not self.a > 1:
            raise UserError(f"a must be above 1 token; got {self.a:g}")

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        return torch.log(n - 1.0 + self.a) / math.log(self.a)
