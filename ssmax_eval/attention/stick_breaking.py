"""Stick-breaking attention (Tan et al., arXiv 2410.17980): the nearest key takes its share first."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Rows


@dataclass(frozen=True)
class StickBreaking(Attention):
    """σ(z_j) · Π (1 − σ(z_k)) over the keys k after j: what the keys nearer to the row have left over.

    A row does not see itself, that is, the last of its visible keys. The first row sees nothing and gives zeros.
    """

    honours = frozenset({"softcap", "bias"})

    rest: bool = False
    """Give what no key took to the row's own token, as the authors' code does for language models, so that every row
    sums to 1. Without that it goes nowhere."""

    def weights(self, rows: Rows) -> Tensor:
        after = rows.visible.sum(-1, keepdim=True) - rows.visible.cumsum(-1)
        past, own = rows.visible & (after > 0), rows.visible & (after == 0)
        left = logsigmoid(-rows.scores).masked_fill(~past, 0.0)
        later = left.flip(-1).cumsum(-1).flip(-1) - left
        a = (logsigmoid(rows.scores) + later).exp().masked_fill(~past, 0.0)
        if not self.rest:
            return a
        return torch.where(own, left.sum(-1, keepdim=True).exp(), a)
