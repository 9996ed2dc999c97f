"""Lengths at which a process that measured was killed, so that the next one does not try them forever.

A process notes the context length before it begins to measure it, and removes the note when it is past it, whatever
stops it in an orderly way. A note that is still there was left by a kill: of the kernel for want of memory, say. It is
also left where memory runs out in one of several processes that hold a model together.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssmax_eval.checkpoint.parallel import processes
from ssmax_eval.errors import UserError
from ssmax_eval.files import read_whole, write_whole
from ssmax_eval.run.together import OutOfMemoryError
from ssmax_eval.store.parts import named

NOTE = "attempt.json"
"""In a run's folder, while it is measured: the length, the cells of it that were missing, the deaths so far."""
MOST = 2
"""Deaths after which the cells of a length are given up."""


class Deaths:
    """The kills that a run, or a `part` of it ("03-of-16"), has seen at the length that it was last at."""

    def __init__(self, folder: Path, part: str = "") -> None:
        rank = processes().rank  # of the processes that hold one model, each may be the one that dies
        self.path = folder / named(NOTE if rank == 0 else f"{Path(NOTE).stem}-{rank}.json", part)
        self._note = self._read()

    def at(self, length: int, missing: int) -> int:
        """Return how often a process was killed at a length; only the last counts if it finished a cell of it.

        `missing` is how many cells of that length are not measured.
        """
        if self._note.get("context_length") != length:
            return 0
        stuck = self._note.get("missing") == missing
        return 1 + (int(self._note.get("deaths", 0)) if stuck else 0)

    @contextmanager
    def attempt(self, length: int, missing: int) -> Iterator[None]:
        """Note, for as long as the block lasts, that a length is being measured."""
        deaths = self.at(length, missing)
        self._note = {"context_length": length, "missing": missing, "deaths": deaths}
        write_whole(self.path, json.dumps(self._note) + "\n")
        try:
            yield
        except OutOfMemoryError:
            raise
        except BaseException:
            self.forget()
            raise
        self.forget()

    def forget(self) -> None:
        """Forget every kill."""
        self._note = {}
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        """Return the note that is there; an empty one where it is damaged."""
        try:
            note = json.loads(read_whole(self.path)) if self.path.exists() else {}
            return note if isinstance(note, dict) and type(note.get("deaths", 0)) is int else {}
        except (UserError, ValueError, RecursionError):
            return {}
