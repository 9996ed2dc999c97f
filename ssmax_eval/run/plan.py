"""What a command does, step by step: plan the runs of the tasks that were chosen, execute them, sum up."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

from ssmax_eval.attention import Attention, Unrewritten, describe, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import Model, resolve, running
from ssmax_eval.run import estimate
from ssmax_eval.run.choosing import Say, log
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import measure, missing
from ssmax_eval.run.progress import Progress
from ssmax_eval.run.session import session
from ssmax_eval.run.workers import Ray
from ssmax_eval.store import Store, read_results
from ssmax_eval.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Plan:
    """The runs of one command, and the cells of each that are still to be measured."""

    checkpoint: Checkpoint
    todo: Mapping[Run, list[Cell]]
    """Runs in order, each with the cells that the store does not have."""
    store: Store
    retry_failed: bool = False

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, also those that are finished."""
        return tuple(self.todo)

    @property
    def folders(self) -> tuple[str, ...]:
        """Where the runs are stored."""
        return tuple(str(self.store.root / run.name) for run in self.todo)


def plan(
    checkpoint: Checkpoint,
    attentions: Sequence[str | Attention],
    chosen: Sequence[Task],
    output: str | PathLike[str],
    *,
    retry_failed: bool = False,
    say: Say = log.info,
) -> Plan:
    """Return every task under every attention. Raise every UserError that can be found without loading the weights.

    A task that looks into attention is left out, and that is said, where the model is not rewritten.
    """
    parsed = [parse(given) if isinstance(given, str) else given for given in attentions]
    for task in chosen:
        task.read()
    chosen = [task.on(checkpoint) for task in chosen]
    resolved = [resolve(checkpoint, attention) for attention in parsed]
    _ = checkpoint.device_and_dtype
    store = Store(output)
    runs = dict.fromkeys(
        Run(checkpoint, attention, task) for attention in resolved for task in _possible(attention, chosen, say)
    )
    todo = {run: missing(run.task.cells(), store.cells(run.name), retry_failed=retry_failed) for run in runs}
    return Plan(checkpoint, todo, store, retry_failed)


def _possible(attention: Attention, chosen: Sequence[Task], say: Say) -> list[Task]:
    """Return the tasks that can be measured under an attention. UserError where none is left."""
    blind = [task for task in chosen if isinstance(attention, Unrewritten) and task.looks_into_attention]
    kinds = ", ".join(task.name for task in blind)
    why = f"{kinds} looks into attention, which a model that is not rewritten (--attention none) does not show"
    if blind and len(blind) == len(chosen):
        raise UserError(f"{why}; give an attention such as softmax, or another --task")
    if blind:
        say(f"{why}: left out")
    return [task for task in chosen if task not in blind]


def execute(
    plan: Plan,
    *,
    batch_size: int | None = None,
    prefill_chunk: int | None = None,
    ray: Ray | None = None,
    say: Say = log.info,
    progress: bool = True,
) -> None:
    """Measure everything that is missing; the checkpoint is loaded once, and only if anything is.

    `batch_size` is how many cells are measured together; None chooses it for each context length. With `ray`, a Ray
    cluster measures. `progress` shows a bar in a terminal and in a notebook; elsewhere it says a line now and then.
    """
    todo = [run for run, cells in plan.todo.items() if cells]
    for run in plan.runs:
        if run not in todo:
            plan.store.describe(run.name, run.description)
    if not todo:
        say("Everything is in the store already.")
        return
    if ray is not None:
        from ssmax_eval.run.workers.driver import measure_on_workers

        measure_on_workers(
            plan, todo, ray, batch_size=batch_size, prefill_chunk=prefill_chunk, say=say, progress=progress
        )
        return
    say(f"Loading {plan.checkpoint.label} ...")
    hf = plan.checkpoint.load()
    with progress_of(plan, todo, say) if progress else nullcontext() as shown:
        for attention in dict.fromkeys(run.attention for run in todo):
            with running(plan.checkpoint, hf, attention) as model:
                model.prefill_chunk = prefill_chunk
                for run in todo:
                    if run.attention == attention:
                        _execute_one(plan, run, model, batch_size, shown.write if shown else say, shown)


def progress_of(plan: Plan, todo: Sequence[Run], say: Say) -> Progress:
    """Return a progress over the cells of some runs."""
    cells = [plan.todo[run] for run in todo]
    lengths = {cell.context_length for some in cells for cell in some}
    return Progress(cells, {length: estimate.work(plan.checkpoint, length) for length in lengths}, say)


def _execute_one(
    plan: Plan, run: Run, model: Model, batch_size: int | None, say: Say, progress: Progress | None
) -> None:
    cells = plan.todo[run]
    title = f"{run.task.name} | {describe(run.attention)}"
    done = len(run.task.cells()) - len(cells)
    say(f"{title}: {counted(len(cells))}" + (f" to measure, {done} already there" if done else ""))
    lengths = sorted({cell.context_length for cell in cells})
    sizes = {n: batch_size or estimate.batch_size(plan.checkpoint, n) for n in lengths}
    failed, left = 0, set(cells)
    if progress is not None:
        progress.begin(title)

    def stored(measurement: Measurement) -> None:
        nonlocal failed
        failed += measurement.error is not None
        left.discard(measurement.cell)
        if progress is not None:
            progress.finished([measurement.cell])

    measure(
        run, model, plan.store, cells, session=session(run, model, sizes), batch_size=sizes,
        retry_failed=plan.retry_failed, progress=stored,
    )  # fmt: skip
    if progress is not None and left:
        progress.finished(list(left))  # another process has measured them in the meantime
    if failed:
        say(f"{title}: {counted(failed)} failed; the report marks them, --retry-failed tries again")


def counted(cells: int) -> str:
    """Return a number of cells in words."""
    return "1 cell" if cells == 1 else f"{cells} cells"


def results(plan: Plan) -> "pd.DataFrame":
    """Return the measurements of a plan's runs, as `read_results` does."""
    return read_results(*plan.folders)


def summary(plan: Plan, suites: Sequence[str] = ()) -> str:
    """Return the final tables of a plan's runs, also for `suites` of the user's own, by their files."""
    from ssmax_eval.report import terminal

    return terminal(results(plan), suites)
