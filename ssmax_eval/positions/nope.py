"""No positions (Kazemnejad et al. 2023, arXiv 2305.19466; DroPE, arXiv 2512.12167)."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ssmax_eval.positions.base import Pairs, PositionMap


@dataclass(frozen=True)
class NoPE(PositionMap):
    """RoPE is taken off: every query and key is at 0."""

    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        return (Pairs(query=0, key=0),)
