"""Softmax that may look at nothing: off by one (Miller 2023), off by n, or an attention sink without a key."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.functions import masked_softmax
from ssmax_eval.errors import UserError


@dataclass(frozen=True)
class SoftmaxN(Attention):
    """e^z / (n + Σ e^z): softmax with one more entry of logit log n, whose weight goes nowhere."""

    honours = frozenset({"softcap", "bias", "sink"})

    n: float = 1.0
    """What is added to the sum, above 0; the smaller, the nearer to softmax. It is not the number of keys."""

    def __post_init__(self) -> None:
        if not self.n > 0:
            raise UserError(f"n must be above 0 (softmax is its limit); got {self.n:g}")

    def weights(self, rows: Rows) -> Tensor:
        own = rows.scores.new_full((1, 1, 1, 1), math.log(self.n))
        sink = own if rows.sink is None else torch.logaddexp(own, rows.sink.to(own.dtype))
        return masked_softmax(rows.scores, rows.visible, sink)
