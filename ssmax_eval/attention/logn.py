"""Baselines that scale the scores by log position, without training (log-n, and Llama 4's temperature)."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.attention.scaled import ScaledSoftmax


@dataclass(frozen=True)
class FromLength(ScaledSoftmax):
    """A factor that sets in at a length."""

    log_scaled = True

    n_train: int | None = None
    """Length, in tokens, from which scores are scaled. None: the checkpoint's training length."""

    def resolve(self, shape: Shape) -> "FromLength":
        return replace(self, n_train=self.n_train or shape.train_length)

    @property
    def length(self) -> int:
        """The length, once it is known."""
        if self.n_train is None:
            raise ValueError(f"{type(self).__name__} has no n_train yet: give one, or resolve() it for a checkpoint")
        return self.n_train


@dataclass(frozen=True)
class LogN(FromLength):
    """softmax(max(1, log n_i / log n_train) · z_i): softmax up to the training length, sharper beyond it."""

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        return (torch.log(n) / math.log(self.length)).clamp(min=1.0)


@dataclass(frozen=True)
class Temperature(ScaledSoftmax):
    """softmax((1 + beta · log(⌊n_i / f⌋ + 1)) · z_i): Llama 4's scaling at inference."""

    log_scaled = True

    beta: float = 0.1
    """Strength of the scaling."""
    f: int = 8192
    """Tokens below which nothing is scaled."""

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        return 1.0 + self.beta * torch.log(torch.floor(n / self.f) + 1.0)
