"""A folder of runs: `run.json` says what was run, `cells.jsonl` holds one line a finished cell.

A line is written whole and synced, so that a run killed at any moment loses at most the cell it was in.
A line cut off by a kill is dropped when the run is next opened for writing, and ignored by readers.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement

if TYPE_CHECKING:
    import pandas as pd

RUN_FILE, CELLS_FILE, SESSIONS_FILE, LOCK_FILE = "run.json", "cells.jsonl", "sessions.jsonl", ".lock"


class Writer:
    """One run, open for appending; made by `Store.writer`, which holds the run's lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells: dict[Cell, Measurement] = {m.cell: m for m in _measurements(folder)}

    def append(self, measurement: Measurement) -> None:
        """Write one finished cell; it is on the disk when this returns."""
        _append_line(self.folder / CELLS_FILE, measurement.to_json())
        self.cells[measurement.cell] = measurement

    def record(self, session: Mapping[str, Any]) -> None:
        """Write down what happened in this session and does not change its numbers."""
        _append_line(self.folder / SESSIONS_FILE, json.dumps(session))


class Store:
    """A folder of runs, one sub-folder each."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def cells(self, name: str) -> dict[Cell, Measurement]:
        """What the run `name` has measured so far, finished and failed; empty when there is no such run."""
        return {m.cell: m for m in _measurements(self.root / name)}

    @contextmanager
    def writer(self, name: str, run: Mapping[str, Any], session: Mapping[str, Any]) -> Iterator[Writer]:
        """Open the run `name` for appending, alone.

        `run` is the run's description, with its `identity`; `session` is what is merely recorded of this
        process (versions, device, command). UserError when another process is writing this run, or when the
        folder holds a run of another identity.
        """
        folder = self.root / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write results to {str(folder)!r}: {error.strerror}") from None
        lock = FileLock(folder / LOCK_FILE, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                f"run {name!r} is being written by another process; wait for it, or give another --output"
            ) from None
        try:
            _claim(folder, run)
            _drop_partial_line(folder / CELLS_FILE)
            _drop_partial_line(folder / SESSIONS_FILE)
            _append_line(folder / SESSIONS_FILE, json.dumps(session))
            yield Writer(folder)
        finally:
            lock.release()


def _claim(folder: Path, run: Mapping[str, Any]) -> None:
    path = folder / RUN_FILE
    if path.exists():
        if _read_run(folder)["identity"] != json.loads(json.dumps(run["identity"])):
            raise UserError(f"{str(folder)!r} holds another run; give another --output")
        return
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)


def _read_run(folder: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{str(folder / RUN_FILE)!r} is not readable as JSON: {error}") from None
    return run


def _append_line(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _drop_partial_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def _measurements(folder: Path) -> Iterator[Measurement]:
    path = folder / CELLS_FILE
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                return
            try:
                yield Measurement.from_json(line)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{str(path)!r}, line {number}, is damaged: {error}") from None


def run_folders(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The run folders among `paths`: each a run, or a store of runs.

    UserError when one holds none, or when two hold the same run: its cells would count twice.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        here = [path] if (path / RUN_FILE).exists() else sorted(child.parent for child in path.glob(f"*/{RUN_FILE}"))
        if not here:
            raise UserError(f"no runs in {str(path)!r}; give a run's folder or the folder of runs given to --output")
        for folder in here:
            if found.setdefault(folder.name, folder).resolve() != folder.resolve():
                raise UserError(f"{str(folder)!r} and {str(found[folder.name])!r} are the same run; give one of them")
    return list(found.values())


def read_runs(*paths: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """What each run below `paths` was, and the sessions that measured it: run name -> description."""
    runs = {}
    for folder in run_folders(paths):
        sessions = folder / SESSIONS_FILE
        lines = sessions.read_text(encoding="utf-8").splitlines(keepends=True) if sessions.exists() else []
        whole = [json.loads(line) for line in lines if line.endswith("\n")]
        runs[folder.name] = {**_read_run(folder), "sessions": whole}
    return runs


def read_results(*paths: str | os.PathLike[str]) -> "pd.DataFrame":
    """Every measurement below `paths` (run folders, or folders of runs) as one tidy DataFrame.

    One row for each row of a cell's table, or one for the cell where it has none; the run's description and
    the cell's coordinates and values are columns beside it. A failed cell is one row with `status` "failed".
    A column that a task does not have is missing (NaN) in its rows. `attrs["quantities"]` says what each kind of
    task measures.
    """
    import pandas as pd

    folders = run_folders(paths)
    frames = [_frame(folder) for folder in folders]
    frame = pd.concat([f for f in frames if len(f)], ignore_index=True) if any(map(len, frames)) else frames[0]
    for name in ("run", "checkpoint", "attention", "task", "dtype", "rope", "status"):
        if name in frame:
            frame[name] = frame[name].astype("category")
    frame.attrs.update(_attributes(folders))
    return frame


def _attributes(folders: Iterable[Path]) -> dict[str, Any]:
    """What a report needs to know of the runs and no column holds.

    `quantities`: what each kind of task measures, as `Quantity.to_json` gives it. `attentions`: what the identity of
    each run says of its attention, for two runs whose labels do not tell them apart.
    """
    quantities: dict[str, Any] = {}
    attentions: dict[str, Any] = {}
    for folder in folders:
        run = _read_run(folder)
        if run.get("quantities"):
            quantities[run["columns"]["task"]] = run["quantities"]
        identity = run.get("identity")
        said = identity.get("attention") if isinstance(identity, dict) else identity
        attentions[folder.name] = json.dumps(said, sort_keys=True)
    return {"quantities": quantities, "attentions": attentions}


def _frame(folder: Path) -> "pd.DataFrame":
    import numpy as np
    import pandas as pd

    measurements = list({m.cell: m for m in _measurements(folder)}.values())
    sizes = [max([len(c) for c in m.rows.values()], default=1) for m in measurements]
    columns: dict[str, Any] = {"run": folder.name, **_read_run(folder)["columns"]}
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
        columns[name] = values.repeat(sizes).reset_index(drop=True)
    for name in dict.fromkeys(key for m in measurements for key in m.rows):
        parts = [np.asarray(m.rows.get(name, [np.nan] * n)) for m, n in zip(measurements, sizes, strict=True)]
        columns[name] = np.concatenate(parts)
    return pd.DataFrame(columns, index=range(sum(sizes)))
