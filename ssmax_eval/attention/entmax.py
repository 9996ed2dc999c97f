"""Entmax: softmax with a threshold below which weights are exactly zero (Peters et al., arXiv 1905.05702)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention, Kernel
from ssmax_eval.attention.call import Call, Rows
from ssmax_eval.attention.kernels import threshold
from ssmax_eval.errors import UserError

MOST = 200
"""Steps to a threshold; some dozen are enough in practice."""


def entmax(z: Tensor, visible: Tensor, alpha: float) -> Tensor:
    """Return relu((α − 1) · z − τ)^(1 / (α − 1)) over the visible keys, with the τ of each row that makes its sum 1.

    Newton's steps go up to τ from below, and the sum is convex in τ, so none goes too far: they end where rounding
    does. The last one is taken with gradients, which makes them those of τ itself. A row that sees no key is zeros.
    """
    power = 1.0 / (alpha - 1.0)
    x = ((alpha - 1.0) * z).masked_fill(~visible, -torch.inf)
    top = x.detach().amax(-1, keepdim=True)
    x = x - top.masked_fill(top == -torch.inf, 0.0)
    with torch.no_grad():
        tau = torch.full_like(top, -1.0)
        for _ in range(MOST):
            step = _step(x, tau, power).clamp(min=0.0)
            tau = tau + step
            if tau.is_meta or bool((step <= 8 * torch.finfo(tau.dtype).eps).all()):
                break
    tau = tau + _step(x, tau, power)
    return _raised(x - tau, power).masked_fill(~visible, 0.0)


def _step(x: Tensor, tau: Tensor, power: float) -> Tensor:
    """Newton's step from τ to where the weights of a row sum to 1."""
    excess = _raised(x - tau, power).sum(-1, keepdim=True) - 1.0
    slope = power * _raised((x - tau).detach(), power - 1.0).sum(-1, keepdim=True)
    return excess / slope.masked_fill(slope == 0, 1.0)


def _raised(x: Tensor, power: float) -> Tensor:
    """relu(x)^power, which for the power 0 is whether x is above 0."""
    if power == 0.0:
        return (x > 0).to(x.dtype)
    x = x.relu()
    return x if power == 1.0 else x.square() if power == 2.0 else x**power


def by_threshold(attention: "AlphaEntmax", call: Call) -> Tensor | None:
    """Return the output in blocks that fit a processor's cache; None where that does not apply."""
    return threshold.attend_entmax(call, attention.order) if threshold.takes(call) else None


@dataclass(frozen=True)
class AlphaEntmax(Attention):
    """relu((alpha − 1) · z − τ)^(1 / (alpha − 1)), τ so that a row sums to 1: between softmax and sparsemax."""

    honours = frozenset({"softcap", "bias"})
    kernels: ClassVar[tuple[Kernel, ...]] = (by_threshold,)

    alpha: float = 1.5
    """Above 1, where it nears softmax, and at most 2, which is sparsemax."""

    def __post_init__(self) -> None:
        if not 1.0 < self.alpha <= 2.0:
            raise UserError(f"alpha must be above 1 (softmax), and at most 2 (sparsemax); got {self.alpha:g}")

    @property
    def order(self) -> float:
        """α."""
        return self.alpha

    def weights(self, rows: Rows) -> Tensor:
        return entmax(rows.scores, rows.visible, self.alpha)


@dataclass(frozen=True)
class Entmax15(Attention):
    """relu(z / 2 − τ)², τ so that a row sums to 1: entmax with alpha 1.5, as most of its users have it."""

    honours = frozenset({"softcap", "bias"})
    kernels = (by_threshold,)
    order: ClassVar[float] = 1.5

    def weights(self, rows: Rows) -> Tensor:
        return entmax(rows.scores, rows.visible, self.order)
