"""What is still to be measured, in batches, the longest first."""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ssmax_eval.measurement import Cell
from ssmax_eval.run.identity import Run, Under

MOST_DEATHS = 3
"""Deaths of workers after which the cell that was measured is given up."""


class Batch(NamedTuple):
    """Cells of one run and one length that a worker measures together."""

    cost: float
    run: int
    """Number of the run, among those of the command."""
    cells: tuple[Cell, ...]
    size: int
    """What the task was asked for, as `Task.batches` takes it."""
    careful: bool = False
    """Whether the model reads in the shortest chunks, to need little memory: a worker has died twice of these cells."""


class WorkList:
    """The batches that no worker has yet. What shares a prefix is kept together, as `Task.batches` has it."""

    def __init__(
        self,
        runs: Sequence[Run],
        todo: Mapping[Run, Sequence[Cell]],
        sizes: Mapping[int, int],
        work: Callable[[int], float],
    ) -> None:
        self.runs, self.work = runs, work
        self.deaths: Counter[tuple[int, Cell]] = Counter()
        self.left: dict[Under, list[Batch]] = {run.under: [] for run in runs}
        for number, run in enumerate(runs):
            place = {cell: i for i, cell in enumerate(todo[run])}  # the worker's task parts them again, in this order
            for length in dict.fromkeys(cell.context_length for cell in todo[run]):
                alike = [cell for cell in todo[run] if cell.context_length == length]
                for cells in run.task.batches(alike, sizes[length]):
                    self._add(number, sorted(cells, key=place.__getitem__), sizes[length])

    def take(self, now: Under | None, others: Iterable[Under] = ()) -> Batch | None:
        """Return the longest batch under what a worker runs `now`, and take it off the list.

        Where that has none left: of that with the most work for each of the `others` that run it, so that
        few workers have to change theirs. None where the list is empty.
        """
        if now is None or not self.left.get(now):
            busy = Counter(others)
            waiting = [under for under, batches in self.left.items() if batches]
            if not waiting:
                return None
            now = max(waiting, key=lambda one: sum(batch.cost for batch in self.left[one]) / (1 + busy[one]))
        return self.left[now].pop()

    def died(self, batch: Batch, unfinished: Sequence[Cell]) -> list[Cell]:
        """Put back what a worker that died has not finished, cell by cell; return the cells that are given up."""
        given_up = []
        for cell in unfinished:
            self.deaths[batch.run, cell] += 1
            if (deaths := self.deaths[batch.run, cell]) >= MOST_DEATHS:
                given_up.append(cell)
            else:
                self._add(batch.run, [cell], 1, careful=deaths == MOST_DEATHS - 1)
        return given_up

    def _add(self, run: int, cells: Sequence[Cell], size: int, *, careful: bool = False) -> None:
        cost = sum(self.work(cell.context_length) for cell in cells)
        insort(
            self.left[self.runs[run].under],
            Batch(cost, run, tuple(cells), size, careful),
            key=lambda batch: (batch.cost, -batch.run),
        )
