"""ReRoPE and Leaky ReRoPE (Su 2023, kexue.fm/archives/9708, github.com/bojone/rerope)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.errors import UserError
from ssmax_eval.positions.base import Pairs, PositionMap, share_of


@dataclass(frozen=True)
class ReRoPE(PositionMap):
    """min(d, window): beyond the window, every distance d is the same."""

    window: int | None = None
    """Tokens of the window: keys nearer than this stay as they are. None: half of the training length."""

    def resolve(self, shape: Shape) -> "ReRoPE":
        return self if self.window else replace(self, window=share_of(shape, 1 / 2, "window", type(self)))

    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        window = self.window or 1
        edge = query - window + 1
        return Pairs(first=edge), Pairs(stop=edge, query=window, key=0)


@dataclass(frozen=True)
class LeakyReRoPE(ReRoPE):
    """d within the window, window + (d − window) / k beyond it: far distances grow k times more slowly."""

    k: float = 16.0
    """One over the slope beyond the window; 1 is plain RoPE."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.k >= 1:  # nan too
            raise UserError(f"'k' of LeakyReRoPE must be 1 or more; got {self.k}")

    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        window = self.window or 1
        edge = query - window + 1
        return Pairs(first=edge), Pairs(stop=edge, query=(query - window) / self.k + window, key=key / self.k)
