"""The baseline."""

from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.attention.scaled import ScaledSoftmax


@dataclass(frozen=True)
class Softmax(ScaledSoftmax):
    """softmax(z_i): what most checkpoints were trained with."""

    def factor(self, n: Tensor, layer: int) -> Tensor | None:
        return None
