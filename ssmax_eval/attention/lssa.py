"""Softplus attention and its re-weighting (arXiv 2501.13428)."""

import math
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.call import Call, Rows
from ssmax_eval.attention.functions import (
    l1_normalised,
    l2_normalised,
    log_softplus,
    masked_softmax,
    rounding,
)
from ssmax_eval.attention.kernels import fused, normalised


class Argument(NamedTuple):
    """Query and key whose products are the argument of a function that makes weights of scores."""

    query: Tensor
    """float32, [B, H, T, D]."""
    key: Tensor
    """float32, [B, K, S, D]."""
    soft: bool
    """Whether the function is softplus; else it is exp."""


@dataclass(frozen=True)
class Normalised(Attention):
    """Weights L1(f(q·k)), re-weighted or not: what the kernels of this family ask of an attention."""

    @property
    @abstractmethod
    def power(self) -> float | None:
        """Power of the re-weighting; None without one."""

    @abstractmethod
    def argument(self, call: Call) -> Argument:
        """Return what f is applied to."""


def on_gpu(attention: "LSSA", call: Call) -> Tensor | None:
    """Return the output of LSSA or LSSAR by `kernels.fused`; None where that does not apply."""
    if not (attention.qk_norm and fused.takes(call, attention.power)):
        return None
    return fused.attend(call.query, call.key, call.value, attention.power)


def on_cpu(attention: Normalised, call: Call) -> Tensor | None:
    """Return the output by `kernels.normalised`; None where that does not apply."""
    if not normalised.takes(call, attention.power):
        return None
    query, key, soft = attention.argument(call)
    return normalised.attend(query, key, call.value.float(), soft, attention.power).to(call.query.dtype)


@dataclass(frozen=True)
class LSSA(Normalised):
    """L1(softplus(log d · log n_i · cos(q_i, k_j))): softmax split into softplus and a plain normalisation."""

    log_scaled = True
    kernels = (on_gpu, on_cpu)

    qk_norm: bool = True
    """Cosines (versions 4 and 5 of the paper); False takes the model's scaled products (versions 1 and 2)."""

    def weights(self, rows: Rows) -> Tensor:
        z = rows.cosines if self.qk_norm else rows.scores
        return masked_softmax(log_softplus(math.log(rows.query.shape[-1]) * torch.log(rows.n) * z), rows.visible)

    @property
    def power(self) -> float | None:
        return None

    @property
    def ignores_scaling(self) -> bool:
        return self.qk_norm

    def argument(self, call: Call) -> Argument:
        query, key = call.query, call.key
        q, k = (
            (l2_normalised(query), l2_normalised(key)) if self.qk_norm else (call.scaling * query.float(), key.float())
        )
        return Argument(math.log(query.shape[-1]) * call.visible.counts(query.device).log() * q, k, soft=True)


@dataclass(frozen=True)
class LSSAR(LSSA):
    """LSSA followed by re-weighting: keys below the average are cut, and the rest raised to the power p."""

    kernels = (on_gpu, on_cpu)

    p: float = field(default=15.0, metadata={"hidden": None})
    """Power of the re-weighting; the paper has 3 and 15."""

    def weights(self, rows: Rows) -> Tensor:
        return reweighted(super().weights(rows), rows.n, self.p)

    @property
    def power(self) -> float | None:
        return self.p


@dataclass(frozen=True)
class SoftmaxReweighted(Normalised):
    """The same re-weighting on top of plain softmax, a row of the paper's ablation."""

    honours = frozenset({"softcap", "bias"})
    kernels = (on_cpu,)

    p: float = field(default=15.0, metadata={"hidden": None})
    """Power of the re-weighting."""

    def weights(self, rows: Rows) -> Tensor:
        return reweighted(masked_softmax(rows.scores, rows.visible), rows.n, self.p)

    @property
    def power(self) -> float | None:
        return self.p

    def argument(self, call: Call) -> Argument:
        return Argument(call.scaling * call.query.float(), call.key.float(), soft=False)


def reweighted(a: Tensor, n: Tensor, p: float) -> Tensor:
    """Return L1(relu(a_ij · n_i − o_i)^p) of weights a [B, H, R, S], with o_i = 0 for n_i ≤ 3 and 1 otherwise.

    Each row is divided by its largest entry before the power, which L1 undoes: n^p overflows float32 (20 000^15
    is 3e64). A row of equal weights has nothing above the average and gives zeros. Its a_ij · n_i are only nearly 1,
    by rounding, and the division would make whole weights of that, so it is cut first. Since L1 undoes the division,
    no gradient need pass through it.
    """
    x = (a * n - (n > 3).to(a.dtype)).relu()
    x = x.masked_fill(x < rounding(a.dtype), 0.0)
    top = x.detach().amax(-1, keepdim=True)
    return l1_normalised((x / top.masked_fill(top == 0, 1.0)) ** p)
