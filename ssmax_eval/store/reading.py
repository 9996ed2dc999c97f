"""Reading runs: what they were, and every measurement as one DataFrame."""

import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Measurement
from ssmax_eval.store.description import RUN_FILE, read_description
from ssmax_eval.store.lines import CELLS_FILE, read_sessions
from ssmax_eval.store.packing import PACKED_FILE, all_cells
from ssmax_eval.store.parts import part_of

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

OF_A_CELL = {"context_length", "depth", "trial", "document", "status", "error", "seconds"}
"""Columns that each cell has for itself."""
PLACES = ("position", "layer", "head", "actual_length", "actual_depth")
"""Columns of numbers that say where a value was measured."""
CATEGORIES = ("run", "checkpoint", "attention", "task", "dtype", "rope", "status")


def run_folders(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the run folders among `paths`: each a run, or a store of runs.

    A folder with cells whose description is lost is left out, after a warning. UserError when one of `paths` holds no
    run, or when two hold the same run: its cells would count twice.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        holding = {file.parent for file in path.glob("*/cells.*") if _holds_cells(file)}
        for folder in sorted(folder for folder in holding if not (folder / RUN_FILE).exists()):
            log.warning("%s is left out: it holds cells and no %s; measure it again", folder, RUN_FILE)
        here = [path] if (path / RUN_FILE).exists() else sorted(child.parent for child in path.glob(f"*/{RUN_FILE}"))
        if not here:
            raise UserError(f"no runs in {str(path)!r}; give a run's folder or the folder of runs given to --output")
        for folder in here:
            if found.setdefault(folder.name, folder).resolve() != folder.resolve():
                raise UserError(f"{str(folder)!r} and {str(found[folder.name])!r} are the same run; give one of them")
    return list(found.values())


def _holds_cells(file: Path) -> bool:
    return file.name == PACKED_FILE or part_of(file, CELLS_FILE) is not None


def read_runs(*paths: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """Return what each run below `paths` was, and the sessions that measured it: run name -> description.

    Each of its `sessions` has a `kind`: "session" for a process that measured, "out_of_memory" for what it could not.
    """
    return {
        folder.name: {**read_description(folder), "sessions": read_sessions(folder)} for folder in run_folders(paths)
    }


def read_results(*paths: str | os.PathLike[str]) -> "pd.DataFrame":
    """Return every measurement below `paths` (run folders, or folders of runs) as one tidy DataFrame.

    One row for each row of a cell's table, or one for the cell where it has none; the run's description and
    the cell's coordinates and values are columns beside it. A failed cell is one row with `status` "failed".
    A column that a task does not have is missing (NaN) in its rows. `frame.attrs["quantities"]` says what the tasks
    measure: task -> the fields of each `Quantity`; `frame.attrs["identities"]` is the identity of each run, as JSON,
    for runs whose labels do not tell them apart.
    """
    import pandas as pd

    folders = run_folders(paths)
    runs = [read_description(folder) for folder in folders]
    frames = [_frame(folder, run) for folder, run in zip(folders, runs, strict=True)]
    frame = pd.concat([f for f in frames if len(f)], ignore_index=True) if any(map(len, frames)) else frames[0]
    for name in CATEGORIES:
        if name in frame:
            frame[name] = frame[name].astype("category")
    frame.attrs["quantities"] = _quantities(runs)
    identities = [json.dumps(run["identity"], sort_keys=True) for run in runs]
    frame.attrs["identities"] = dict(zip((folder.name for folder in folders), identities, strict=True))
    return frame


def _wrong(found: Measurement, numbers: set[str], taken: set[str]) -> str:
    """Say why a cell cannot stand in a frame: a text where a number belongs, a name twice; empty where it can."""
    names = [name for name, _ in found.cell.extra] + [*found.values, *found.rows]
    if twice := taken.intersection(names):
        return f"it gives {sorted(twice)[0]!r} again"
    columns = {**{name: [value] for name, value in found.values.items()}, **found.rows}
    for name in numbers & columns.keys():
        column = columns[name]
        if not isinstance(column, range) and not set(map(type, column)) <= {float, int, bool, type(None)}:
            return f"{name} must be a number"
    return ""


def _quantities(runs: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return what each task measures, by name; of two declarations of one quantity, the last."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["columns"]["task"], {}).update({one["name"]: one for one in run["quantities"]})
    return {task: list(named.values()) for task, named in found.items()}


def _frame(folder: Path, run: dict[str, Any]) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    columns = {name: value for name, value in run["columns"].items() if name not in OF_A_CELL}
    numbers = {*PLACES, *(one["name"] for one in run["quantities"])}
    measurements = []
    for one in all_cells(folder).values():
        if wrong := _wrong(one.measurement, numbers, {"run", *columns, *OF_A_CELL}):
            log.warning("%s holds a cell %s that is left out: %s", folder, one.measurement.cell.coordinates(), wrong)
        else:
            measurements.append(one.measurement)
    sizes = [max([len(c) for c in m.rows.values()], default=1) for m in measurements]
    table: dict[str, Any] = {"run": folder.name, **columns}
    whole: list[dict[str, Any]] = [
        {
            **m.cell.coordinates(),
            "status": "ok" if m.error is None else "failed",
            "error": m.error,
            "seconds": m.seconds,
            **m.values,
        }
        for m in measurements
    ]
    for name in dict.fromkeys(key for values in whole for key in values):
        values = pd.Series([values.get(name) for values in whole])
        table[name] = values.repeat(sizes).reset_index(drop=True)
    for name in dict.fromkeys(key for m in measurements for key in m.rows):
        parts = [np.asarray(m.rows.get(name, [np.nan] * n)) for m, n in zip(measurements, sizes, strict=True)]
        table[name] = np.concatenate(parts)
    return pd.DataFrame(table, index=range(sum(sizes)))
