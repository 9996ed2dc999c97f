"""Writing runs: one process a run, or a part of it; one line a finished cell."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.files import append_line, drop_partial_line
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.store.description import claim, read_description
from ssmax_eval.store.lines import CELLS_FILE, SESSIONS_FILE, sealed
from ssmax_eval.store.lock import locked
from ssmax_eval.store.packing import all_cells
from ssmax_eval.store.parts import named
from ssmax_eval.store.upgrade import session_with_kind


class Writer:
    """One run, or a part of it, open for appending; made by `Store.writer`, which holds its lock."""

    def __init__(self, folder: Path, part: str = "") -> None:
        self.folder, self.part = folder, part
        self.cells: dict[Cell, Measurement] = {cell: one.measurement for cell, one in all_cells(folder).items()}

    def path(self, file: str) -> Path:
        """Return where this writer has a file of its run."""
        return self.folder / named(file, self.part)

    def append(self, measurement: Measurement) -> None:
        """Write one finished cell; it is on the disk when this returns."""
        append_line(self.path(CELLS_FILE), sealed(measurement.to_json()))
        self.cells[measurement.cell] = measurement

    def record(self, entry: Mapping[str, Any]) -> None:
        """Write down what happened in this session and does not change its numbers; `kind` says what it is."""
        append_line(self.path(SESSIONS_FILE), sealed(json.dumps(session_with_kind(entry))))


class Store:
    """A folder of runs, one sub-folder each.

    All of a run is read; a store with a `part` ("03-of-16") writes files of that part alone (see `parts.py`).
    """

    def __init__(self, root: str | os.PathLike[str], part: str = "") -> None:
        self.root, self.part = Path(root), part

    def cells(self, name: str) -> dict[Cell, Measurement]:
        """Return what the run `name` has measured so far, finished and failed; empty when there is no such run."""
        return {cell: one.measurement for cell, one in all_cells(self.root / name).items()}

    def describe(self, name: str, run: Mapping[str, Any]) -> None:
        """Write the description of a run that has cells again, where it is lost or damaged. UserError as for `writer`.

        Nothing is done where it is whole, so that a store that cannot be written can be read.
        """
        folder = self.root / name
        try:
            read_description(folder)
        except UserError:
            with locked(folder, self.part):
                claim(folder, run)

    def note(self, name: str, entry: Mapping[str, Any]) -> None:
        """Write down something of a run that does not change its numbers; `kind` says what it is."""
        with locked(self.root / name, self.part):
            Writer(self.root / name, self.part).record(entry)

    @contextmanager
    def writer(self, name: str, run: Mapping[str, Any], session: Mapping[str, Any]) -> Iterator[Writer]:
        """Open the run `name`, or this store's part of it, for appending, alone.

        `run` is the run's description, with its `columns`, `quantities` and `identity`; `session` is what is merely
        recorded of this process (versions, device, command). UserError when another process is writing the same,
        or when the folder holds a run of another identity.
        """
        folder = self.root / name
        with locked(folder, self.part):
            claim(folder, run)
            writer = Writer(folder, self.part)
            drop_partial_line(writer.path(CELLS_FILE))
            drop_partial_line(writer.path(SESSIONS_FILE))
            writer.record({"kind": "session", **session})
            yield writer
