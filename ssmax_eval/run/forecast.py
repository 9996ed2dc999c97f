"""What a plan would measure, before it does: cells, tokens and a rough time."""

from typing import NamedTuple

from ssmax_eval.run import estimate
from ssmax_eval.run.plan import Plan
from ssmax_eval.run.progress import duration


class Forecast(NamedTuple):
    """What one run would cost."""

    task: str
    attention: str
    cells: int
    """Cells of the grid, or of the shard."""
    todo: int
    """Those of them that are still to be measured."""
    tokens: int
    """Tokens of the cells to be measured."""
    seconds: float
    """A rough time, from the rate at which this machine multiplies matrices."""


def forecasts(plan: Plan) -> list[Forecast]:
    """Return what each run of a plan would cost."""
    return [
        Forecast(
            run.task.name,
            run.label,
            len(plan.cells[run]),
            len(cells),
            sum(cell.context_length for cell in cells),
            estimate.seconds(plan.checkpoint, cells) if cells else 0.0,
        )
        for run, cells in plan.todo.items()
    ]


def forecast(plan: Plan) -> str:
    """Return what a plan would measure, as a table."""
    found = forecasts(plan)
    wide = max(14, *(len(f.task) for f in found))
    lines = [f"{'task':<{wide}} {'attention':<24} {'cells':>6} {'to do':>6} {'tokens':>10} {'about':>8}"]
    lines += [
        f"{f.task:<{wide}} {f.attention:<24} {f.cells:>6} {f.todo:>6} {f.tokens:>10,} {duration(f.seconds):>8}"
        for f in found
    ]
    total = duration(sum(f.seconds for f in found))
    what = f"for shard {plan.shard}" if plan.shard else "in all"
    lines.append(f"About {total} {what}: a rough figure, from the rate at which this machine multiplies matrices.")
    return "\n".join(lines)
