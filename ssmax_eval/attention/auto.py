"""What a checkpoint was trained with."""

from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape
from ssmax_eval.attention.softmax import Softmax
from ssmax_eval.attention.ssmax import SSMax


@dataclass(frozen=True)
class Auto(Attention):
    """Stands for another until the checkpoint is known: the one its config carries, else SSMax where its weights
    bring s, else softmax."""

    about = "what the checkpoint was trained with"

    def resolve(self, shape: Shape) -> Attention:
        trained = shape.trained or (SSMax() if "s" in shape.brought else Softmax())
        return trained.resolve(shape)

    def weights(self, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int) -> Tensor:
        raise ValueError("Auto is no attention itself: resolve() it for a checkpoint")
