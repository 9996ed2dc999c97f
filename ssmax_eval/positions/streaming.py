"""StreamingLLM (Xiao et al. 2023, arXiv 2309.17453, github.com/mit-han-lab/streaming-llm)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.positions.base import Pairs, PositionMap


@dataclass(frozen=True)
class Streaming(PositionMap):
    """A query sees the first keys, the `window` keys before it, and its own; positions are those in that cache.

    So a query is at min(i, sinks + window), and the first keys at 0 … sinks − 1.
    """

    sinks: int = 4
    """First tokens that every row sees."""
    window: int = 2000
    """Tokens before its own that a row sees."""

    def least(self, name: str) -> int:
        return 0 if name == "sinks" else 1

    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        recent = (query - self.window).clamp(min=self.sinks)
        first_keys = (query + 1).clamp(max=self.sinks)
        return Pairs(first=recent), Pairs(stop=first_keys, query=query.clamp(max=self.sinks + self.window))
