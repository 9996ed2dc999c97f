"""How much time an evaluation has taken, what the next rung would take, and whether the budget reaches it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, shown
from ssmax_eval.measurement import Cell
from ssmax_eval.run import estimate
from ssmax_eval.run.plan import Plan
from ssmax_eval.train.calibration.table import MADE

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def duration_of(text: str) -> float:
    """Return the seconds of `2h`, `30min`, `90s` or `90`. UserError for anything else."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?(s|m|min|h|d)?", text.strip())
    if found is None or not float(found[1]):
        raise UserError(f"a budget is a time such as 45min or 2h; got {shown(text)}")
    return float(found[1]) * UNITS[found[2] or "s"]


@dataclass
class Budget:
    """What was spent, by the seconds that the store and the tables hold."""

    checkpoint: Checkpoint
    seconds: float | None = None
    """None: as long as it takes."""
    _cells: dict[tuple[str, Cell], float] = field(default_factory=dict)
    """Seconds of the cells of all rungs so far, by run and cell."""
    _tables: dict[Path, float] = field(default_factory=dict)

    @property
    def spent(self) -> float:
        """Seconds of measuring and fitting so far."""
        return sum(self._cells.values()) + sum(self._tables.values())

    def add(self, plans: Iterable[Plan]) -> None:
        """Count what the store has of a rung."""
        for plan in plans:
            self._cells |= _stored(plan)

    def add_table(self, path: Path) -> None:
        """Count the time that a table says of its making."""
        self._tables[path] = float(json.loads(path.read_text(encoding="utf-8"))[MADE].get("seconds", 0.0))

    def cost(self, plans: Iterable[Plan], passes: int = 0, length: int = 0) -> float:
        """Return the seconds that a rung still takes: stored cells of it that no rung has counted, and all others
        at the rate of what was measured. `passes` are further passes over `length` tokens."""
        known, work = self.passes(passes, length), 0.0
        for plan in plans:
            known += sum(seconds for key, seconds in _stored(plan).items() if key not in self._cells)
            work += self._work((run.name, cell) for run, cells in plan.todo.items() for cell in cells)
        return known + work / self._rate()

    def passes(self, passes: int, length: int) -> float:
        """Return the seconds of passes over `length` tokens."""
        return passes * estimate.work(self.checkpoint, length) / self._rate() if passes else 0.0

    def fresh(self, cells: Iterable[tuple[str, Iterable[Cell]]]) -> float:
        """Return the seconds of cells that nobody has measured, by run."""
        return self._work((name, cell) for name, some in cells for cell in some) / self._rate()

    def reaches(self, plans: Iterable[Plan], passes: int = 0, length: int = 0) -> bool:
        """Return whether the budget is enough for a rung."""
        return self.seconds is None or self.spent + self.cost(plans, passes, length) <= self.seconds

    def began(self, plans: Iterable[Plan]) -> bool:
        """Return whether the store has cells of a rung that no earlier one asked for: then it is to be finished."""
        return any(key not in self._cells for plan in plans for key in _stored(plan))

    def _rate(self) -> float:
        """Floating-point operations a second: of the cells so far, else of this machine."""
        seconds = sum(self._cells.values())
        if seconds:
            return self._work(self._cells) / seconds
        one = Cell(1024)
        return estimate.work(self.checkpoint, one.context_length) / estimate.seconds(self.checkpoint, [one])

    def _work(self, keys: Iterable[tuple[str, Cell]]) -> float:
        """Operations of passes over the cells; those that differ by depth alone share one."""
        passes = {(name, cell.context_length, cell.trial, cell.document) for name, cell in keys}
        return float(sum(estimate.work(self.checkpoint, length) for _, length, _, _ in passes))


def _stored(plan: Plan) -> dict[tuple[str, Cell], float]:
    found: dict[tuple[str, Cell], float] = {}
    for run, cells in plan.cells.items():
        there = plan.store.cells(run.name)
        found |= {(run.name, cell): there[cell].seconds for cell in cells if cell in there}
    return found
