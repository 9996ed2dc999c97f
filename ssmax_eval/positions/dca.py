"""Dual Chunk Attention (An et al. 2024, arXiv 2402.17463, github.com/HKUNLP/ChunkLlama)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.errors import UserError
from ssmax_eval.positions.base import Pairs, PositionMap, share_of


@dataclass(frozen=True)
class DualChunk(PositionMap):
    """Chunks of c = chunk − local tokens. A key is at j mod c, whichever chunk it is in.

    For keys of its own chunk a query is at i mod c, for those of the chunk before at min(i mod c + c, chunk), and for
    all earlier ones at min(2c − 1, chunk).
    """

    chunk: int | None = None
    """Largest position of a query. None: three quarters of the training length."""
    local: int | None = None
    """Tokens of that which keep their distance across the border of two chunks. None: an eighth of the training length,
    or a sixth of `chunk` where that is given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk is not None and self.local is not None and self.local >= self.chunk:
            raise UserError(f"local={self.local} of DualChunk must be less than chunk={self.chunk}")

    def least(self, name: str) -> int:
        return 2 if name == "chunk" else 0

    def resolve(self, shape: Shape) -> "DualChunk":
        chunk = self.chunk or share_of(shape, 3 / 4, "chunk", type(self))
        local = share_of(shape, 1 / 8, "local", type(self)) if self.chunk is None else chunk // 6
        return replace(self, chunk=chunk, local=local if self.local is None else self.local)

    def pairs(self, query: Tensor, key: Tensor) -> Sequence[Pairs]:
        chunk = self.chunk or 2
        c = chunk - (self.local or 0)
        begin, inside = query // c * c, key % c
        return (
            Pairs(first=begin),  # i mod c against j mod c is i against j
            Pairs(first=begin - c, stop=begin, query=(query % c + c).clamp(max=chunk), key=inside),
            Pairs(stop=begin - c, query=min(2 * c - 1, chunk), key=inside),
        )
