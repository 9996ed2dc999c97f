"""Softmax over the largest scores alone (Gupta et al., arXiv 2106.06899; Sparse-softmax, arXiv 2112.12433)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Call, Rows
from ssmax_eval.attention.functions import masked_softmax
from ssmax_eval.attention.kernels import threshold
from ssmax_eval.errors import UserError


def by_threshold(attention: "TopK", call: Call) -> Tensor | None:
    """Return the output in blocks that fit a processor's cache; None where that does not apply."""
    return threshold.attend_topk(call, attention.k) if threshold.takes(call) else None


@dataclass(frozen=True)
class TopK(Attention):
    """softmax(z_i) over the k keys with the largest scores, and all that are equal to the smallest of those."""

    honours = frozenset({"softcap", "bias", "sink"})
    kernels = (by_threshold,)

    k: int = 64
    """Keys that a row attends to."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"k must be 1 key or more; got {self.k}")

    def weights(self, rows: Rows) -> Tensor:
        z = rows.scores.detach().masked_fill(~rows.visible, -torch.inf)
        least = z.topk(min(self.k, z.shape[-1]), -1).values[..., -1:]
        return masked_softmax(rows.scores, rows.visible & (z >= least), rows.sink)
