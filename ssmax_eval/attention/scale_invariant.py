"""Scale-invariant attention (Anson, Wang & Aitchison, arXiv 2505.17083)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.functions import masked_softmax
from ssmax_eval.errors import UserError


@dataclass(frozen=True)
class ScaleInvariant(Attention):
    """softmax(a_t · z + 1 − a_t²), a_t² = 2 · log(t / tau + 1) + 1: each scale of distances keeps its share of weight.

    t is the distance of a key: the number of keys after it that the row sees. That is their difference in position,
    under padding and windows too. A sink of the model stays as it is.
    """

    log_scaled = True
    honours = frozenset({"softcap", "bias", "sink"})

    tau: float = 10.0
    """Distance, in tokens, at which the scaling sets in."""

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise UserError(f"tau must be above 0 tokens; got {self.tau:g}")

    def weights(self, rows: Rows) -> Tensor:
        after = rows.visible.sum(-1, keepdim=True) - rows.visible.cumsum(-1)
        square = 2.0 * torch.log1p(after.to(rows.scores.dtype) / self.tau) + 1.0
        return masked_softmax(square.sqrt() * rows.scores + (1.0 - square), rows.visible, rows.sink)
