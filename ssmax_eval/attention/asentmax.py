"""Adaptive-scalable entmax (arXiv 2506.16640), whose scale is learned for each head."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.attention.call import Call, Rows, at_least_one
from ssmax_eval.attention.entmax import AlphaEntmax, entmax
from ssmax_eval.attention.kernels import threshold
from ssmax_eval.attention.parameters import PerHead, row
from ssmax_eval.errors import UserError


def by_scaled_query(attention: "ASEntmax", call: Call) -> Tensor | None:
    """Return the output of entmax on a scaled query; None where that does not apply."""
    if not threshold.takes(call):
        return None
    n = at_least_one(call.visible.counts(call.query.device), call.query)
    return threshold.attend_entmax(call, attention.alpha, attention.factor(n, call.layer))


@dataclass(frozen=True)
class ASEntmax(AlphaEntmax):
    """entmax((delta + beta · log(n_i + 1)^gamma) · z_i): a scale that grows with length as each head has learned."""

    log_scaled = True
    learned = ("beta", "gamma")
    honours = frozenset({"softcap", "bias"})
    kernels = (by_scaled_query,)

    beta: PerHead | None = None
    """Strength of the growth, a number or [layers][heads]. None: the checkpoint's own, else 0.55, the mean of what
    the authors start from."""
    gamma: PerHead | None = None
    """Its power, likewise. None: the checkpoint's own, else 0, as the authors' mean."""
    delta: float = 1.0
    """The scale without growth."""

    def start(self, name: str, shape: Shape) -> float:
        return {"beta": 0.55, "gamma": 0.0}[name]

    def factor(self, n: Tensor, layer: int) -> Tensor:
        """Return the scale of rows that see `n` keys, [.., H or 1, R, 1]."""
        if self.beta is None or self.gamma is None:
            raise UserError("ASEntmax has no beta and gamma yet: give both, or resolve() it for a checkpoint")
        return self.delta + row(self.beta, layer, n) * torch.log(n + 1.0) ** row(self.gamma, layer, n)

    def weights(self, rows: Rows) -> Tensor:
        return entmax(self.factor(rows.n, rows.layer) * rows.scores, rows.visible, self.alpha)
