"""Measure what the store does not have yet.

A Run is a checkpoint under an attention on a task. Its identity is what decides its numbers; running it again is
set difference over the cells on disk.
"""

import hashlib
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from ssmax_eval.attention import Attention, describe
from ssmax_eval.errors import UserError
from ssmax_eval.loader import Checkpoint, Model
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.store import Store
from ssmax_eval.tasks import Task
from ssmax_eval.tasks.base import Measure

DEFINITIONS = 1
"""Raised when a change to a task or an attention changes what a number means, so that old cells are not reused."""


@dataclass(frozen=True)
class Run:
    """A checkpoint under an attention on a task."""

    checkpoint: Checkpoint
    attention: Attention
    """With its parameters settled for the checkpoint."""
    task: Task

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers of a cell, as plain values."""
        return {
            "definitions": DEFINITIONS,
            "checkpoint": self.checkpoint.identity(),
            "attention": {**_class_identity(type(self.attention)), **self.attention.parameters()},
            "task": self.task.identity(),
        }

    @cached_property
    def name(self) -> str:
        """The run's folder: readable, and unique to its identity."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:10]
        readable = f"{self.checkpoint.label}_{describe(self.attention)}_{self.task.kind}"
        return f"{re.sub(r'[^A-Za-z0-9_.=-]+', '-', readable)}_{digest}"

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the store writes down: the identity, and the columns that its rows begin with."""
        columns = {
            "checkpoint": self.checkpoint.label,
            "attention": describe(self.attention),
            "task": self.task.kind,
            "train_length": self.checkpoint.shape.train_length,
            "dtype": self.identity["checkpoint"]["dtype"],
            "rope": self.checkpoint.rope_label,
        }
        return {"columns": columns, "identity": self.identity}


def _class_identity(cls: type) -> dict[str, str]:
    """Name of an attention's class; of one from outside the package also its source, which may change any time."""
    if cls.__module__.split(".")[0] == "ssmax_eval":
        return {"class": cls.__name__}
    return {"class": cls.__name__, "source": hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()[:16]}


def missing(run: Run, store: Store, *, retry_failed: bool = False) -> list[Cell]:
    """The cells of the run's grid that the store does not have. A failed cell counts as there unless retried."""
    there = store.cells(run.name)
    return [c for c in run.task.cells() if c not in there or (retry_failed and there[c].error is not None)]


def measure(
    run: Run,
    model: Model,
    store: Store,
    *,
    session: dict[str, Any],
    batch_size: int = 1,
    retry_failed: bool = False,
    progress: Callable[[Measurement], None] = lambda _: None,
) -> int:
    """Measure the run's missing cells on the model, storing each as it is finished; how many were measured.

    Out of memory, a batch is halved; a single cell that does not fit, or gives NaN, is stored as failed, and the
    run goes on. UserError, before anything is written, when the task cannot be measured on this model at all.
    """
    limit = model.max_positions
    if limit is not None and max(run.task.lengths) > limit:
        raise UserError(
            f"{run.checkpoint.label!r} has a table of {limit} positions and cannot run {max(run.task.lengths)} "
            f"tokens; give --max-length {limit}"
        )
    bound = run.task.bind(model)
    with store.writer(run.name, run.description, session) as writer:
        there = {c for c, m in writer.cells.items() if not (retry_failed and m.error is not None)}
        todo = [cell for cell in run.task.cells() if cell not in there]
        for batch in run.task.batches(todo, batch_size):
            for measurement in _attempt(bound, batch):
                writer.append(measurement)
                progress(measurement)
    return len(todo)


def _attempt(bound: Measure, cells: Sequence[Cell]) -> Iterator[Measurement]:
    """Measure cells together, giving each as soon as it is finished."""
    started, count = time.perf_counter(), len(cells)
    try:
        for measurement in bound(cells):
            yield _timed(measurement, measurement.seconds or (time.perf_counter() - started) / count)
            cells = cells[1:]
    except UserError as error:
        yield from (Measurement(cell, error=str(error)) for cell in cells)
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        if len(cells) > 1:
            middle = len(cells) // 2
            yield from _attempt(bound, cells[:middle])
            yield from _attempt(bound, cells[middle:])
        else:
            yield Measurement(cells[0], error="out of memory", seconds=time.perf_counter() - started)


def _timed(found: Measurement, seconds: float) -> Measurement:
    if not found.finite():
        return Measurement(found.cell, error="the model gave NaN or infinite numbers", seconds=seconds)
    return Measurement(found.cell, found.values, found.rows, seconds=seconds)


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
