"""MultiMax: softmax on scores that a learned function bends (Zhou et al., arXiv 2406.01189)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape
from ssmax_eval.attention.call import Rows
from ssmax_eval.attention.functions import masked_softmax
from ssmax_eval.attention.parameters import PerHead, row


@dataclass(frozen=True)
class MultiMax(Attention):
    """softmax(z + t0 · relu(b0 − z) + t1 · relu(z − b1)): small scores are made smaller, and large ones larger.

    Each parameter is one number for a layer. Where every t is 0, this is softmax.
    """

    learned: ClassVar[tuple[str, ...]] = ("t0", "t1", "b0", "b1")
    honours = frozenset({"softcap", "bias"})

    t0: PerHead | None = None
    """Slope below b0. None: the checkpoint's own, else 0."""
    t1: PerHead | None = None
    """Slope above b1, likewise."""
    b0: PerHead | None = None
    """Score below which t0 bends, likewise."""
    b1: PerHead | None = None
    """Score above which t1 bends, likewise."""

    def start(self, name: str, shape: Shape) -> float:
        return 0.0

    def size(self, name: str, shape: Shape) -> int:
        return 1

    def bent(self, rows: Rows) -> Tensor:
        """Return the scores after the function, [B, H, R, S]."""
        z = rows.scores
        low = self._of("t0", rows) * (self._of("b0", rows) - z).relu()
        high = self._of("t1", rows) * (z - self._of("b1", rows)).relu()
        return z + low + high

    def weights(self, rows: Rows) -> Tensor:
        return masked_softmax(self.bent(rows), rows.visible)

    def _of(self, name: str, rows: Rows) -> Tensor | float:
        value: PerHead | None = getattr(self, name)
        return row(0.0 if value is None else value, rows.layer, rows.scores)


@dataclass(frozen=True)
class MultiMax2(MultiMax):
    """MultiMax of the second order, with t2 · relu(b2 − z)² + t3 · relu(z − b3)² in the sum as well."""

    learned = (*MultiMax.learned, "t2", "t3", "b2", "b3")

    t2: PerHead | None = None
    """Curve below b2. None: the checkpoint's own, else 0."""
    t3: PerHead | None = None
    """Curve above b3, likewise."""
    b2: PerHead | None = None
    """Score below which t2 bends, likewise."""
    b3: PerHead | None = None
    """Score above which t3 bends, likewise."""

    def bent(self, rows: Rows) -> Tensor:
        z = rows.scores
        low = self._of("t2", rows) * (self._of("b2", rows) - z).relu().square()
        high = self._of("t3", rows) * (z - self._of("b3", rows)).relu().square()
        return super().bent(rows) + low + high
