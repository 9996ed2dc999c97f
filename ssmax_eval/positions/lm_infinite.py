"""LM-Infinite (Han et al. 2023, arXiv 2308.16137, github.com/Glaciohound/LM-Infinite)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.positions.base import Pairs, PositionMap


@dataclass(frozen=True)
class LMInfinite(PositionMap):
    """A Λ-shaped mask: the first keys and those nearer than the window; no distance is larger than the window."""

    first: int = 10
    """First tokens that every row sees."""
    window: int = 4096
    """Tokens of the window, a row's own among them."""

    def least(self, name: str) -> int:
        return 0 if name == "first" else 1

    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        edge = query - self.window + 1
        return Pairs(first=edge), Pairs(stop=edge.clamp(max=self.first), query=self.window, key=0)
