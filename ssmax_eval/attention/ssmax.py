"""Scalable-Softmax (Nakanishi, arXiv 2501.19399)."""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.attention.parameters import PerHead, fit, row
from ssmax_eval.attention.scaled import ScaledSoftmax
from ssmax_eval.errors import UserError


@dataclass(frozen=True)
class SSMax(ScaledSoftmax):
    """softmax((s · log n_i + b) · z_i): the largest weight no longer fades as n grows."""

    log_scaled = True
    learned = ("s",)

    s: PerHead | None = None
    """Scaling, a number or [layers][heads]. None: the checkpoint's own, else 1 / mean(log n) to its length. Training
    puts a tensor [heads] here, `replace(attention, s=module.ssmax_s)`, and gets its gradient."""
    b: PerHead | None = field(default=None, metadata={"hidden": 0.0})
    """Bias, likewise. None: the checkpoint's own, else 0."""
    n_is: str = field(default="keys", kw_only=True)
    """What the model was trained to take for n: "keys", those that a row sees, which under a window is
    min(position + 1, window); or "position", position + 1, which is the same but in layers with a window."""
    most: int | None = field(default=None, kw_only=True)
    """Where n stops to grow, in keys: for a model that counts one key less than its window lets a row see."""

    def __post_init__(self) -> None:
        if self.n_is not in ("keys", "position"):
            raise UserError(f"n_is must be keys or position; got {self.n_is!r}")
        if self.most is not None and self.most < 1:
            raise UserError(f"most must be 1 key or more; got {self.most}")

    def resolve(self, shape: Shape) -> "SSMax":
        s = self.s if self.s is not None else shape.from_weights.get("s", default_s(shape.train_length))
        b = self.b if self.b is not None else shape.from_weights.get("b", 0.0)
        layers = self.layers
        if layers is None and isinstance(s, tuple) and not all(s):
            layers = "+".join(str(layer) for layer, heads in enumerate(s) if heads)
        resolved = replace(self, s=fit("s", s, shape), b=fit("b", b, shape), layers=layers)
        if self.n_is == "position" and shape.full is not None:
            chosen = resolved.rewrites(shape)
            if chosen is None or not chosen <= set(shape.full):
                raise UserError(
                    "n_is=position needs layers without a window, since what a row sees does not tell its position; "
                    "give layers=full, or n_is=keys"
                )
        return resolved

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        if self.s is None:
            raise ValueError("SSMax has no s yet: give one, or resolve() it for a checkpoint")
        n = n if self.most is None else n.clamp(max=self.most)
        return row(self.s, layer, n) * torch.log(n) + row(0.0 if self.b is None else self.b, layer, n)


def default_s(train_length: int) -> float:
    """Return 1 / mean(log n) over n = 1 … train_length: the scale of a softmax-trained model stays 1 on average.

    0.16847 for 1 024 tokens (the paper's 0.168), 0.12482 for 8 192.
    """
    return train_length / math.lgamma(train_length + 1)
