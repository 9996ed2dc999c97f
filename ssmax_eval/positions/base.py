"""What a position map is: the positions at which the score of a query and a key is made."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.errors import UserError, shown


@dataclass(frozen=True)
class Pairs:
    """Some pairs of a query and a key, and the positions that both are turned to.

    Positions are those in a text, from 0. A query has the keys from `first` to `stop` - 1.
    """

    first: Tensor | int = 0
    """Position of the first key of each query: [.., T]."""
    stop: Tensor | None = None
    """Position after the last: [.., T]. None: after the query itself."""
    query: Tensor | int | None = None
    """Where queries are turned to, [.., T], not necessarily whole numbers. None: they stay where they are."""
    key: Tensor | int | None = None
    """Where keys are turned to, [.., S]."""


@dataclass(frozen=True)
class PositionMap(ABC):
    """One kind of position map, with its parameters. A subclass must define `pairs`; all else follows from it."""

    about: ClassVar[str] = ""
    """The rule and its source in one line, for a class outside this package."""
    version: ClassVar[int] = 1
    """Raised when the rule changes its numbers, so that stored cells are not reused in silence."""

    def __post_init__(self) -> None:
        for name, value in self.parameters().items():
            if isinstance(value, int) and not isinstance(value, bool) and value < (least := self.least(name)):
                raise UserError(f"{name!r} of {type(self).__name__} must be {least} or more; got {shown(value)}")

    @abstractmethod
    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        """Return which pairs are made at which positions. This is the definition, to be read.

        `query` [.., T] and `key` [.., S] are int64 positions in a text. Where the pairs of a key are turned to must
        follow from its own position. No pair may be in two of the parts. A pair that is in none is hidden: such a key
        is not visible, and does not count in n. Pairs with a key after the query are never made.
        """

    def resolve(self, shape: Shape) -> "PositionMap":
        """Return this map with the parameters that depend on the checkpoint filled in."""
        return self

    def least(self, name: str) -> int:
        """Return the smallest value of a parameter that is a whole number."""
        return 1

    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name, as plain values that JSON can hold."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}


def share_of(shape: Shape, share: float, name: str, cls: type) -> int:
    """Return a share of the training length, in whole tokens. UserError where that is not known."""
    if not shape.train_length:
        raise UserError(
            f"the training length of this checkpoint is not known, and {cls.__name__} has no {name!r} without it; "
            f"give {name}=…, or --train-length"
        )
    return max(1, int(share * shape.train_length))
