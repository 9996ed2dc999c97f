"""What tells how sharp a row of attention is, and the factor that makes it as sharp as another."""

from collections.abc import Callable

import torch
from torch import Tensor

WIDEST = 8.0
"""Factors are looked for between 1 / 8 and 8."""
HALVINGS = 30
"""Of that range: to within 1e-9 of its logarithm."""

Statistic = Callable[[Tensor], Tensor]
"""From scores [H, R, T], minus infinity where a row does not look, to a number for each row, [H, R]."""


def entropy(z: Tensor) -> Tensor:
    """Return the entropy of each row's weights in nats."""
    log_weights = z.log_softmax(-1)
    return -(log_weights.exp() * log_weights.masked_fill(log_weights == -torch.inf, 0.0)).sum(-1)


def largest(z: Tensor) -> Tensor:
    """Return minus the logarithm of each row's largest weight, so that it falls as the row grows sharper."""
    return -z.log_softmax(-1).amax(-1)


def gaps(z: Tensor) -> Tensor:
    """Return how many scores lie within 1 of the largest of their row: the gap-counting function at a gap of 1.

    arXiv 2605.12697 counts the keys within each gap from the largest score; times c, the gap 1 is 1 / c.
    """
    return (z > z.amax(-1, keepdim=True) - 1.0).sum(-1).to(z.dtype)


STATISTICS: dict[str, Statistic] = {"entropy": entropy, "largest": largest, "gaps": gaps}


def alike(statistic: Statistic, z: Tensor, reference: Tensor) -> Tensor:
    """Return for each head the factor on the scores z [H, R, T] that gives them the statistic of `reference`, [H].

    Both are averaged over rows. All three statistics fall as the factor grows, so it is found by halving.
    """
    wanted = statistic(reference).mean(-1)
    low = torch.full_like(wanted, -1.0)
    high = -low
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_flat = statistic(z * (WIDEST**middle)[:, None, None]).mean(-1) > wanted
        low, high = torch.where(too_flat, middle, low), torch.where(too_flat, high, middle)
    return WIDEST ** ((low + high) / 2)
