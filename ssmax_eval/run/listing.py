"""What a store holds: each run, how many of its cells are done, failed and still missing, and the cells themselves."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.positions.label import COLUMN, label
from ssmax_eval.run.plan import Plan
from ssmax_eval.run.stored import written
from ssmax_eval.store import Store, read_runs, run_folders
from ssmax_eval.tasks import TASKS


class RunState(NamedTuple):
    """One run of a store."""

    name: str
    """Name of its folder."""
    folder: str
    """Path of its folder."""
    checkpoint: str | None
    attention: str | None
    task: str | None
    done: int = 0
    """Cells that have been measured."""
    failed: int = 0
    """Cells that were tried and failed."""
    missing: int | None = None
    """Cells that a command has asked for and that were not tried yet; None where the store cannot tell."""
    problem: str | None = None
    """Why the run cannot be read; None where it can."""


def list_runs(paths: Sequence[str | PathLike[str]]) -> list[RunState]:
    """Return what each run below `paths` (run folders, or folders of runs) is, and how far.

    A run that cannot be read is listed with its problem. UserError where one of `paths` holds no run.
    """
    found = []
    for folder in run_folders(paths):
        try:
            found.append(_state(folder))
        except UserError as error:
            found.append(RunState(folder.name, str(folder), None, None, None, problem=str(error)))
    return found


def planned_runs(plan: Plan) -> list[RunState]:
    """Return how far each run of a plan is; missing are the cells of the plan alone."""
    return [
        _counted(Path(folder), run.description["columns"], plan.cells[run])
        for run, folder in zip(plan.runs, plan.folders, strict=True)
    ]


def _state(folder: Path) -> RunState:
    record = read_runs(folder)[folder.name]
    return _counted(folder, record["columns"], _asked(record))


def _counted(folder: Path, columns: Mapping[str, Any], asked: Collection[Cell] | None) -> RunState:
    there = Store(folder.parent).cells(folder.name)
    failed = sum(one.error is not None for one in there.values())
    missing = None if asked is None else len(set(asked) - there.keys())
    attention = columns.get("attention")
    attention = attention and label(attention, columns.get(COLUMN))
    return RunState(
        folder.name, str(folder), columns.get("checkpoint"), attention, columns.get("task"),
        len(there) - failed, failed, missing,
    )  # fmt: skip


def _asked(record: Mapping[str, Any]) -> set[Cell] | None:
    """The cells that the sessions of a run were to measure.

    None where no session says so, and for a task of the user's own: a list should not run the user's code.
    """
    identity = record["identity"].get("task")
    if not isinstance(identity, dict) or "code" in identity or identity.get("kind") not in TASKS:
        return None
    cls: Any = TASKS[identity["kind"]]
    names = {f.name for f in fields(cls)} - {"texts"}
    asked: set[Cell] = set()
    grids = [line["given"].get("grid") for line in record["sessions"] if isinstance(line.get("given"), dict)]
    for grid in filter(None, grids):
        settings = {name: value for name, value in {**identity, **grid}.items() if name in names}
        try:
            asked |= set(cls(**{n: tuple(v) if isinstance(v, list) else v for n, v in settings.items()}).cells())
        except (TypeError, UserError):
            return None
    return asked or None


def cells_of(run: str) -> tuple[list[Measurement], str]:
    """Return the cells of one run, and its headline's name. UserError where `run` holds several runs, or none."""
    folders = run_folders([run])
    if len(folders) > 1:
        raise UserError(f"{run!r} holds several runs; give one of them: {', '.join(folder.name for folder in folders)}")
    (folder,) = folders
    headline = next((one["name"] for one in read_runs(folder)[folder.name]["quantities"]), "")
    return list(Store(folder.parent).cells(folder.name).values()), headline


def list_cells(run: str) -> list[str]:
    """Return a line for each cell of one run: the cell as `--cell` takes it, and its first number or why it failed."""
    cells, headline = cells_of(run)
    found = [(written(one.cell), _outcome(one, headline)) for one in cells]
    width = max((len(cell) for cell, _ in found), default=0)
    return [f"{cell:<{width}}  {outcome}" for cell, outcome in found]


def _outcome(measurement: Measurement, headline: str) -> str:
    if measurement.error is not None:
        return f"failed: {measurement.error}"
    if headline in measurement.values:
        return f"{headline} {measurement.values[headline]}"
    count = max((len(column) for column in measurement.rows.values()), default=0)
    return f"{count} values of {headline}" if headline in measurement.rows else ""
