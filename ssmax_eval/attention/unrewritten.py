"""A model as it is."""

from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape
from ssmax_eval.attention.call import Rows
from ssmax_eval.errors import UserError

NAME = "none"
"""What it is called in a specification: there is nothing to choose."""


@dataclass(frozen=True)
class Unrewritten(Attention):
    """Stands for what a model does by itself, be it attention or not: nothing is rewritten, and nothing is seen of it.

    Any causal language model runs so: recurrent ones, ALiBi, quantised weights.
    """

    def for_shape(self, shape: Shape) -> "Unrewritten":
        trained = shape.from_config
        if shape.from_weights or (trained is not None and type(trained).__name__ != "Softmax"):
            raise UserError(
                "this checkpoint was trained with an attention that transformers does not run by itself, "
                f"so --attention {NAME} would give wrong numbers; leave it out, or give --attention auto"
            )
        return self

    def resolve(self, shape: Shape) -> Attention:
        raise UserError(f"attention {NAME!r} leaves a model as it is; here an attention is needed, such as softmax")

    def weights(self, rows: Rows) -> Tensor:
        raise ValueError("a model that is not rewritten shows none of its weights")
