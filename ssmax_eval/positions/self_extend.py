"""Self-Extend (Jin et al. 2024, arXiv 2401.01325, github.com/datamllab/LongLM)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.positions.base import Pairs, PositionMap


@dataclass(frozen=True)
class SelfExtend(PositionMap):
    """d within the window; beyond it ⌊i / group⌋ + window − ⌊window / group⌋ against ⌊j / group⌋."""

    window: int = 1024
    """Tokens of the window: keys nearer than this stay as they are."""
    group: int = 8
    """Far positions that become one."""

    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        edge = query - self.window + 1
        grouped = query // self.group + self.window - self.window // self.group
        return Pairs(first=edge), Pairs(stop=edge, query=grouped, key=key // self.group)
