"""What the driver does with what workers find: it is stored, counted, and shown."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.run.choosing import Say
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import missing
from ssmax_eval.run.plan import Plan, counted
from ssmax_eval.run.progress import Progress
from ssmax_eval.run.session import given
from ssmax_eval.run.workers.crew import Crew
from ssmax_eval.store import Writer


class Results:
    """The runs of a command while workers measure them; runs are named by their numbers. Used as a context."""

    def __init__(self, plan: Plan, runs: Sequence[Run], crew: Crew, say: Say, shown: Progress | None) -> None:
        self.plan, self.runs, self.crew, self.say, self.shown = plan, runs, crew, say, shown
        self.left = [dict.fromkeys(plan.todo[run]) for run in runs]
        """Of each run, the cells that are not stored yet."""
        self.failed = [0 for _ in runs]
        self.open = ExitStack()
        self.writers: dict[int, Writer] = {}
        self.started, self.tokens = time.monotonic(), 0

    def __enter__(self) -> "Results":
        for run, left in zip(self.runs, self.left, strict=True):
            self.say(f"{title(run)}: {counted(len(left))} to measure")
        if self.shown is not None:
            self.shown.begin(f"on {self.crew}")
        return self

    def __exit__(self, *_: object) -> None:
        self.open.close()

    def record(self, number: int, entry: Mapping[str, Any]) -> None:
        """Write down what a worker says of itself. The first session of a run opens that run for writing."""
        if entry["kind"] != "session":
            self.writers[number].record(entry)
        elif number not in self.writers:
            run = self.runs[number]
            here = {"command": ["ssmax-eval", *sys.argv[1:]], "given": given(run), "workers": self.crew.workers}
            writer = self.plan.store.writer(run.name, run.description, {**entry, **here})
            self.writers[number] = self.open.enter_context(writer)
            there = self.writers[number].cells
            still = set(missing(list(self.left[number]), there, retry_failed=self.plan.retry_failed))
            self._done(number, [cell for cell in self.left[number] if cell not in still])  # another process has them

    def store(self, number: int, found: Measurement) -> None:
        """Store a measurement, unless its cell is stored already."""
        if found.cell not in self.left[number]:
            return
        self.writers[number].append(found)
        self.failed[number] += found.error is not None
        self.tokens += found.cell.context_length
        if self.shown is not None:
            rate = self.tokens / (time.monotonic() - self.started)
            self.shown.begin(f"on {self.crew}, {rate:,.0f} tokens a second")
        self._done(number, [found.cell])

    def _done(self, number: int, cells: Sequence[Cell]) -> None:
        for cell in cells:
            del self.left[number][cell]
        if self.shown is not None and cells:
            self.shown.finished(cells)
        if not self.left[number] and self.failed[number]:
            failed = counted(self.failed[number])
            self.say(f"{title(self.runs[number])}: {failed} failed; the report marks them, --retry-failed tries again")


def title(run: Run) -> str:
    """Return a run in a few words."""
    return f"{run.task.name} | {run.label}"
