"""Measuring in several processes that hold one model: the first writes, the others do the same and write nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssmax_eval.checkpoint.parallel import processes
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.store import Store
from ssmax_eval.store.writing import Writer


class Follower(Writer):
    """A run that the first process writes."""

    def __init__(self, folder: Path, part: str = "") -> None:
        self.folder, self.part = folder, part
        self.cells: dict[Cell, Measurement] = {}

    def append(self, measurement: Measurement) -> None:
        """Leave it to the first process."""
        self.cells[measurement.cell] = measurement

    def record(self, entry: Mapping[str, Any]) -> None:
        """Leave it to the first process."""


@contextmanager
def writer_of(store: Store, name: str, run: Mapping[str, Any], session: Mapping[str, Any]) -> Iterator[Writer]:
    """Open a run for appending, as `Store.writer` does, in the first of the processes that hold the model."""
    if processes().leads:
        with store.writer(name, run, session) as writer:
            yield writer
    else:
        yield Follower(store.root / name, store.part)


class OutOfMemoryError(UserError):
    """Memory ran out in one of several processes. The others wait inside a pass, and cannot be told."""


def refuse_to_shrink(length: int) -> None:
    """Raise OutOfMemoryError where several processes hold the model: only a new start makes their passes the same."""
    if (count := processes().count) > 1:
        raise OutOfMemoryError(
            f"out of memory at {length} tokens, in one of the {count} processes that hold the model; the same command "
            "goes on from there in smaller pieces (torchrun --max-restarts 3 starts it again by itself)"
        )
