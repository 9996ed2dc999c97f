"""What a checkpoint was trained with."""

from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.softmax import Softmax
from ssmax_eval.attention.ssmax import SSMax
from ssmax_eval.errors import UserError


@dataclass(frozen=True)
class Auto(Attention):
    """Stands for another attention until the checkpoint is known.

    That is the one that its config names; else SSMax, where its weights hold an s; else softmax.
    """

    def resolve(self, shape: Shape) -> Attention:
        found = shape.from_config or (SSMax() if "s" in shape.from_weights else Softmax())
        kind = type(found).__name__
        blank = [name for name in found.learned if getattr(found, name) is None and name not in shape.from_weights]
        if shape.from_config is not None and blank:
            raise UserError(
                f"the config says that this checkpoint was trained with {kind}, but its weights hold no {blank[0]!r}; "
                "give the attention and its parameters, as in --attention ssmax:s=0.1"
            )
        resolved = found.resolve(shape)
        held = shape.from_weights.items()
        if lost := sorted(name for name, table in held if getattr(resolved, name, None) != table):
            raise UserError(
                f"the checkpoint's weights hold {lost[0]!r}, which scales its attention, and {kind} does not use it; "
                "give the attention that does, or --attention softmax to leave it out"
            )
        return resolved

    def weights(self, rows: Rows) -> Tensor:
        raise ValueError("Auto has no weights of its own: resolve() it for a checkpoint")
