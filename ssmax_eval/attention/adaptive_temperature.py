"""Adaptive temperature: softmax that is sharper where it is spread out (Veličković et al., arXiv 2410.01104)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.functions import masked_softmax

FIT = (-0.037, 0.481, -2.3, 4.917, -1.791)
"""The paper's polynomial in the entropy, from the highest power down."""
LEAST = 0.5
"""Entropy, in nats, up to which a row stays as it is."""


@dataclass(frozen=True)
class AdaptiveTemperature(Attention):
    """softmax(c · z), c = max(1, polynomial of the entropy of softmax(z)) where that is above 0.5 nats, else 1.

    The polynomial falls below 1 at about 6 nats (400 equal keys): rows that are more spread out stay as they are.
    """

    honours = frozenset({"softcap", "bias"})

    def weights(self, rows: Rows) -> Tensor:
        a = masked_softmax(rows.scores, rows.visible)
        logarithms = rows.scores.masked_fill(~rows.visible, -torch.inf).log_softmax(-1).masked_fill(~rows.visible, 0.0)
        entropy = -(a * logarithms).sum(-1, keepdim=True)
        c = torch.zeros_like(entropy)
        for coefficient in FIT:
            c = c * entropy + coefficient
        c = torch.where(entropy > LEAST, c.clamp(min=1.0), 1.0)
        return masked_softmax(c * rows.scores, rows.visible)
