"""What an evaluation would measure, before it does: candidates, rungs and a rough time."""

from collections.abc import Sequence
from typing import NamedTuple

from ssmax_eval.extend.candidates import PLAIN, Candidate
from ssmax_eval.extend.extend import Extension
from ssmax_eval.extend.rungs import BEST, plan_of
from ssmax_eval.measurement import Cell
from ssmax_eval.run.progress import duration


class Forecast(NamedTuple):
    """What one rung would take."""

    rung: str
    candidates: int
    """Besides the plain checkpoint, where no two tie."""
    cells: int
    """Of each candidate."""
    seconds: float
    """A rough time for what the rungs before have not measured, fitting included."""


def forecast(extension: Extension, tried: Sequence[Candidate]) -> list[Forecast]:
    """Return what each rung would take. UserError where the plain checkpoint cannot be measured.

    Nothing tells which candidates will be left, so each is taken to cost what the plain one does.
    """
    found, count = [], len([one for one in tried if one.name != PLAIN])
    budget, asked = extension.budget, extension.asked
    before: dict[str, set[Cell]] = {}
    for rung in asked.rungs():
        passes = 0
        if rung.widens:
            joined = min(count, BEST)
            passes = extension.calibration.passes * joined
            count += joined * (2 if extension.calibration.documents else 1)
        plan = plan_of(Candidate(), extension.checkpoint, rung.tasks, extension.output, lambda _: None)
        cells = {run.name: set(some) for run, some in plan.cells.items()}
        seconds = budget.fresh([(name, some - before.get(name, set())) for name, some in cells.items()])
        found.append(
            Forecast(
                rung.title, count, sum(map(len, cells.values())),
                seconds * (count + 1) + budget.passes(passes, asked.to),
            )
        )  # fmt: skip
        for name, some in cells.items():
            before.setdefault(name, set()).update(some)
        count = rung.kept(count)
    return found


def said(found: Sequence[Forecast], tried: Sequence[Candidate], limit: float | None) -> str:
    """Return the candidates and rungs for a person."""
    lines = ["Candidates:", *(f"  {one.name}" for one in tried), "Rungs:"]
    wide = max(len(one.rung) for one in found)
    total = 0.0
    for one in found:
        total += one.seconds
        beyond = "  (beyond the budget)" if limit is not None and total > limit else ""
        lines.append(
            f"  {one.rung:<{wide}}  {one.candidates:>2} candidates and plain, {one.cells:>3} cells each, "
            f"about {duration(one.seconds)}{beyond}"
        )
    lines.append(f"About {duration(total)} in all: a rough figure, from how fast this machine multiplies matrices.")
    return "\n".join(lines)
