"""Grids with a depth: where in a text that stands which is asked for, from 0 (start) to 1 (end)."""

from collections.abc import Sequence

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell

WHICH = "haystack"
"""Column that tells haystacks apart, where every depth has one of its own. They are then what is repeated."""


def check_depths(depths: Sequence[float], start: str = "start", end: str = "end") -> None:
    """Raise UserError where there are no depths, or one does not lie between 0 and 1; it says what these two are."""
    if not depths or not all(0.0 <= depth <= 1.0 for depth in depths):
        raise UserError(f"depths lie between 0 ({start}) and 1 ({end}); given {list(depths)}")


def cells_at_depths(lengths: Sequence[int], trials: int, depths: Sequence[float | None]) -> list[Cell]:
    """Return a cell for each depth of each trial of each length, in this order."""
    return [Cell(length, depth=d, trial=trial) for length in lengths for trial in range(trials) for d in depths]


def which_haystack(cell: Cell) -> dict[str, str]:
    """Return the entry of the column `WHICH` for a cell whose haystack is its own."""
    return {WHICH: f"{cell.trial}/{cell.depth}"}
