"""What a command does, step by step: plan the runs of the tasks that were chosen, execute them, sum up."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from os import PathLike
from typing import TYPE_CHECKING

from ssmax_eval.attention import Attention, Unrewritten, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.parallel import processes, refuse_difference
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import Model, refuse_unrewritten, resolve, resolve_position
from ssmax_eval.positions import PositionMap
from ssmax_eval.run import engines, estimate
from ssmax_eval.run.choosing import Say, log
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import measure, missing
from ssmax_eval.run.progress import Progress
from ssmax_eval.run.session import session
from ssmax_eval.run.shards import Shard, part
from ssmax_eval.run.workers import Ray
from ssmax_eval.store import Store, read_results
from ssmax_eval.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Plan:
    """The runs of one command, and the cells of each that are still to be measured."""

    checkpoint: Checkpoint
    cells: Mapping[Run, list[Cell]]
    """Runs in order, each with its cells: all of them, or those of the shard."""
    todo: Mapping[Run, list[Cell]]
    """The same without the cells that the store has."""
    store: Store
    retry_failed: bool = False
    shard: Shard | None = None
    """Which of several processes this one is; None where it measures everything."""

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
    positions: Sequence[str | PositionMap] = ("auto",),
    retry_failed: bool = False,
    shard: Shard | None = None,
    say: Say = log.info,
) -> Plan:
    """Return every task under every attention and position map.

    Every UserError that can be found without loading the weights is raised. With a `shard`, the plan has its part of
    the cells. A task that looks into attention is left out, and that is said, where the model is not rewritten.
    """
    parsed = [parse(given) if isinstance(given, str) else given for given in attentions]
    for task in chosen:
        task.read()
    chosen = [task.on(checkpoint) for task in chosen]
    resolved = [resolve(checkpoint, attention) for attention in parsed]
    maps = [resolve_position(checkpoint, given) for given in positions]
    for attention in resolved:
        for position in maps:
            refuse_unrewritten(attention, position)
    _ = checkpoint.device_and_dtype
    engines.refuse(checkpoint, resolved, maps)
    store = Store(output, shard.part if shard else "")
    possible = [(attention, _possible(checkpoint, attention, chosen, say)) for attention in resolved]
    runs = dict.fromkeys(
        Run(checkpoint, attention, task, position)
        for attention, tasks in possible
        for position in maps
        for task in tasks
    )
    cells = {run: run.task.cells() for run in runs}
    if shard:
        cells = _of_shard(checkpoint, cells, shard, say)
    todo = {run: missing(cells[run], store.cells(run.name), retry_failed=retry_failed) for run in runs}
    return Plan(checkpoint, cells, todo, store, retry_failed, shard)


def _of_shard(checkpoint: Checkpoint, cells: Mapping[Run, list[Cell]], shard: Shard, say: Say) -> dict[Run, list[Cell]]:
    """The part of the cells that a shard measures, which is said."""
    work = lru_cache(partial(estimate.work, checkpoint))
    mine = part(cells, shard, work)
    own, whole = ([work(cell.context_length) for some in grid.values() for cell in some] for grid in (mine, cells))
    say(f"Shard {shard}: {len(own)} of {counted(len(whole))}, {sum(own) / max(sum(whole), 1):.1%} of the work")
    return mine


def _possible(checkpoint: Checkpoint, attention: Attention, chosen: Sequence[Task], say: Say) -> list[Task]:
    """Return the tasks that can be measured under an attention. UserError where none is left."""
    elsewhere = checkpoint.engine_label
    hidden = bool(elsewhere) or isinstance(attention, Unrewritten)
    blind = [task for task in chosen if hidden and task.looks_into_attention]
    kinds = ", ".join(task.name for task in blind)
    who = checkpoint.engine if elsewhere else "a model that is not rewritten (--attention none)"
    why = f"{kinds} looks into attention, which {who} does not show"
    if blind and len(blind) == len(chosen):
        instead = "--engine transformers" if elsewhere else "an attention such as softmax"
        raise UserError(f"{why}; give {instead}, or another --task")
    if blind:
        say(f"{why}: left out")
    return [task for task in chosen if task not in blind]


def execute(
    plan: Plan,
    *,
    batch_size: int | None = None,
    prefill_chunk: int | None = None,
    offload_cache: str = "auto",
    ray: Ray | None = None,
    say: Say = log.info,
    progress: bool = True,
) -> None:
    """Measure everything that is missing; the checkpoint is loaded once, and only if anything is.

    `batch_size` is how many cells are measured together; None chooses it for each context length. `offload_cache`
    says whether keys and values are kept in the processor's memory: "on", "off", "auto". With `ray`, a Ray cluster
    measures. `progress` shows a bar in a terminal and in a notebook; elsewhere it says a line now and then.
    """
    if ray is not None:
        engines.refuse_workers(plan.checkpoint)
    plan.checkpoint.join()
    plan = agreed(plan)
    if not processes().leads:
        say, progress = _nothing, False
    todo = [run for run, cells in plan.todo.items() if cells]
    for run in plan.runs:
        if run not in todo and processes().leads:
            plan.store.describe(run.name, run.description)
    if not todo:
        say(f"Everything{f' of shard {plan.shard}' if plan.shard else ''} is in the store already.")
        return
    if ray is not None:
        from ssmax_eval.run.workers.driver import measure_on_workers

        measure_on_workers(
            plan, todo, ray, batch_size=batch_size, prefill_chunk=prefill_chunk, offload_cache=offload_cache, say=say,
            progress=progress,
        )  # fmt: skip
        return
    say(f"Loading {plan.checkpoint.label} ...")
    longest = max(cell.context_length for run in todo for cell in plan.todo[run])
    with (
        engines.loaded(plan.checkpoint, longest, prefill_chunk, offload_cache) as under,
        progress_of(plan, todo, say) if progress else nullcontext() as shown,
    ):
        for rewriting in dict.fromkeys(run.under for run in todo):
            with under(*rewriting) as model:
                for run in todo:
                    if run.under == rewriting:
                        _execute_one(plan, run, model, batch_size, shown.write if shown else say, shown)
    processes().every(None)  # all is stored


def agreed(plan: Plan) -> Plan:
    """Return the plan that the first of the processes has that hold the model: the store may have grown meanwhile."""
    refuse_difference("the runs", [run.name for run in plan.todo])
    return replace(plan, todo=dict(zip(plan.todo, processes().first(list(plan.todo.values())), strict=True)))


def _nothing(_: str) -> None:
    """Say nothing."""


def progress_of(plan: Plan, todo: Sequence[Run], say: Say) -> Progress:
    """Return a progress over the cells of some runs."""
    cells = [plan.todo[run] for run in todo]
    lengths = {cell.context_length for some in cells for cell in some}
    return Progress(cells, {length: estimate.work(plan.checkpoint, length) for length in lengths}, say)


def _execute_one(
    plan: Plan, run: Run, model: Model, batch_size: int | None, say: Say, progress: Progress | None
) -> None:
    cells = plan.todo[run]
    title = f"{run.task.name} | {run.label}"
    done = len(plan.cells[run]) - len(cells)
    say(f"{title}: {counted(len(cells))}" + (f" to measure, {done} already there" if done else ""))
    lengths = sorted({cell.context_length for cell in cells})
    sizes = {n: min(processes().every(batch_size or engines.batch_size(plan.checkpoint, n))) for n in lengths}
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
        run, model, plan.store, cells, session=session(run, model, sizes, plan.shard), batch_size=sizes,
        retry_failed=plan.retry_failed, progress=stored,
    )  # fmt: skip
    if progress is not None and left:
        progress.finished(list(left))  # another process has measured them in the meantime
    if failed:
        say(f"{title}: {counted(failed)} failed; the report marks them, --retry-failed tries again")


def counted(cells: int) -> str:
    """Return a number of cells in words."""
    return "1 cell" if cells == 1 else f"{cells} cells"


def nothing_yet(plan: Plan) -> bool:
    """Return whether no process has stored any cell of these runs: a shard may have none to measure."""
    return not any(plan.store.cells(run.name) for run in plan.runs)


def state_of_shards(plan: Plan) -> str:
    """Return, for a person, what the other shards have still to do once this one is finished."""
    left = sum(len(missing(run.task.cells(), plan.store.cells(run.name))) for run in plan.runs)
    return f"Shard {plan.shard} is finished. Still missing, of all shards together: {counted(left)}."


def results(plan: Plan) -> "pd.DataFrame":
    """Return the measurements of a plan's runs, as `read_results` does."""
    return read_results(*plan.folders)


def summary(plan: Plan, suites: Sequence[str] = ()) -> str:
    """Return the final tables of a plan's runs, also for `suites` of the user's own, by their files."""
    from ssmax_eval.report import terminal

    return terminal(results(plan), suites)
