"""Softplus attention and its re-weighting (arXiv 2501.13428)."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention, Visible, l1_normalised, masked_softmax, scores
from ssmax_eval.attention.extras import PLAIN, Extras
from ssmax_eval.attention.kernels import fused, normalised


@dataclass(frozen=True)
class _Normalised(Attention):
    """Weights that are a function of the score over its sum, re-weighted or not: the fast paths of all of them."""

    @abstractmethod
    def folded(self, query: Tensor, key: Tensor, visible: Visible, scaling: float) -> tuple[Tensor, Tensor, bool]:
        """Query and key, float32, whose products are the argument of the function; and whether it is softplus."""

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        visible: Visible,
        scaling: float,
        layer: int,
        extras: Extras = PLAIN,
    ) -> Tensor:
        p: float | None = getattr(self, "p", None)
        own = type(self).__module__ == __name__  # a subclass of somebody's has a definition of its own
        if own and getattr(self, "qk_norm", False) and fused.takes(query, key, value, visible, extras, p):
            return fused.attend(query, key, value, p)
        if own and normalised.takes(query, key, value, visible, extras, p):
            q, k, soft = self.folded(query, key, visible, scaling)
            return normalised.attend(q, k, value.float(), soft, p).to(query.dtype)
        return super().forward(query, key, value, visible, scaling, layer, extras)


@dataclass(frozen=True)
class LSSA(_Normalised):
    """L1(softplus(log d · log n_i · cos(q_i, k_j))): softmax split into softplus and a plain normalisation."""

    about = "L1(softplus(log d log n cos(q, k))), arXiv 2501.13428"
    log_scaled = True

    qk_norm: bool = True
    """Cosines (versions 4 and 5 of the paper); False takes the model's scaled products (versions 1 and 2)."""

    def weights(self, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int) -> Tensor:
        width = query.shape[-1]
        z = scores(_unit(query), _unit(key), 1.0) if self.qk_norm else scores(query, key, scaling)
        n = visible.sum(-1, keepdim=True).clamp(min=1).to(z.dtype)
        return masked_softmax(log_softplus(math.log(width) * torch.log(n) * z), visible)

    def folded(self, query: Tensor, key: Tensor, visible: Visible, scaling: float) -> tuple[Tensor, Tensor, bool]:
        q, k = (_unit(query), _unit(key)) if self.qk_norm else (scaling * query.float(), key.float())
        return math.log(query.shape[-1]) * visible.counts(query.device).log() * q, k, True


@dataclass(frozen=True)
class LSSAR(LSSA):
    """LSSA followed by re-weighting: keys below the average are cut, and the rest raised to the power p."""

    about = "L1(relu(n a - 1)^p) with a = lssa, arXiv 2501.13428"

    p: float = 15.0
    """Power of the re-weighting; the paper has 3 and 15."""

    def weights(self, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int) -> Tensor:
        return reweighted(super().weights(query, key, visible, scaling, layer), visible, self.p)


@dataclass(frozen=True)
class SoftmaxReweighted(_Normalised):
    """The same re-weighting on top of plain softmax, a row of the paper's ablation."""

    about = "L1(relu(n a - 1)^p) with a = softmax, the ablation of arXiv 2501.13428"

    honours: ClassVar[frozenset[str]] = frozenset({"softcap", "bias"})

    p: float = 15.0
    """Power of the re-weighting."""

    def weights(
        self, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int, extras: Extras = PLAIN
    ) -> Tensor:
        z = extras.applied(scores(query, key, scaling))
        return reweighted(masked_softmax(z, visible), visible, self.p)

    def folded(self, query: Tensor, key: Tensor, visible: Visible, scaling: float) -> tuple[Tensor, Tensor, bool]:
        return scaling * query.float(), key.float(), False


def reweighted(a: Tensor, visible: Tensor, p: float) -> Tensor:
    """L1(relu(a_ij · n_i − o_i)^p), with o_i = 0 for n_i ≤ 3 and 1 otherwise; [B, H, R, S].

    Each row is divided by its largest entry before the power, which L1 undoes: n^p overflows float32 (20 000^15
    is 3e64). A row of equal weights has nothing above the average and gives zeros; that its a_ij · n_i are only
    nearly 1 is rounding, and the division would make whole weights of it, so it is cut first. Since L1 undoes the
    division, no gradient need pass through it.
    """
    n = visible.sum(-1, keepdim=True).to(a.dtype)
    x = (a * n - (n > 3).to(a.dtype)).relu()
    x = x.masked_fill(x < 16 * torch.finfo(a.dtype).eps, 0.0)
    top = x.detach().amax(-1, keepdim=True)
    return l1_normalised((x / top.masked_fill(top == 0, 1.0)) ** p)


def log_softplus(x: Tensor) -> Tensor:
    """log(softplus(x)), also where softplus itself would underflow; L1(softplus(x)) is softmax of this."""
    # Each branch is kept where it is finite: the one not taken would make NaN of the gradient.
    low, high = x.clamp(max=-15.0), x.clamp(min=-15.0)
    return torch.where(x > -15.0, torch.logaddexp(high, x.new_zeros(())).log(), low - 0.5 * low.exp())


def _unit(x: Tensor) -> Tensor:
    """Vectors (last axis) of length 1, at least float32; a vector of zeros stays zeros."""
    wide = x if x.dtype == torch.float64 else x.float()
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    unit: Tensor = wide / length.masked_fill(length == 0, 1.0)
    return unit
