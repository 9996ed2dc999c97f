"""What a checkpoint was trained with."""

from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.softmax import Softmax
from ssmax_eval.attention.ssmax import SSMax


@dataclass(frozen=True)
class Auto(Attention):
    """Stands for another attention until the checkpoint is known.

    That is the one that its config names; else SSMax, where its weights hold an s; else softmax.
    """

    def resolve(self, shape: Shape) -> Attention:
        found = shape.from_config or (SSMax() if "s" in shape.from_weights else Softmax())
        return found.resolve(shape)

    def weights(self, rows: Rows) -> Tensor:
        raise ValueError("Auto has no weights of its own: resolve() it for a checkpoint")
