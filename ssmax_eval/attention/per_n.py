"""A free factor for every number of keys: the experiment from which SSMax was found (arXiv 2501.19399)."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.attention.parameters import PerHead
from ssmax_eval.attention.scaled import ScaledSoftmax
from ssmax_eval.errors import UserError


@dataclass(frozen=True)
class PerN(ScaledSoftmax):
    """softmax(p[n_i] · z_i): how the factor goes with n is left to training."""

    log_scaled = True
    learned = ("p",)

    p: PerHead | None = field(default=None, metadata={"unit": ("number of keys", "numbers of keys")})
    """Factors for n = 1, 2, ..., a table [layers][n], the last for all n beyond; or one number. None: the
    checkpoint's own, else 1, which is softmax."""

    def size(self, name: str, shape: Shape) -> int:
        return shape.train_length

    def resolve(self, shape: Shape) -> "PerN":
        p = self.p if self.p is not None else shape.from_weights.get("p", 1.0)
        if isinstance(p, tuple) and len(p) != shape.layers:
            raise UserError(f"parameter 'p' is for {len(p)} layers, but the checkpoint has {shape.layers}")
        return replace(self, p=p)

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        if self.p is None:
            raise ValueError("PerN has no p yet: give one, or resolve() it for a checkpoint")
        if isinstance(self.p, float | int):
            return torch.full_like(n, float(self.p))
        table = self.p if isinstance(self.p, Tensor) else torch.tensor(self.p[layer])
        return table.to(n.device, n.dtype)[(n.long() - 1).clamp(max=len(table) - 1)]
