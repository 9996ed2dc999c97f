"""Measure what the store does not have yet: the cells of the grid without the cells on disk."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from ssmax_eval.checkpoint.parallel import processes, refuse_difference
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import Model
from ssmax_eval.run.deaths import MOST, Deaths
from ssmax_eval.run.identity import Run
from ssmax_eval.run.together import refuse_to_shrink, writer_of
from ssmax_eval.store import Store
from ssmax_eval.tasks import Task
from ssmax_eval.tasks.base import Measure

SMALLEST_CHUNK = 512
"""Tokens of the shortest prefill chunk that is tried when memory runs out."""


def missing(cells: Sequence[Cell], there: Mapping[Cell, Measurement], *, retry_failed: bool = False) -> list[Cell]:
    """Return the cells that are not `there` yet. A failed cell is there, unless failed ones are to be tried again."""
    return [c for c in cells if c not in there or (retry_failed and there[c].error is not None)]


def measure(
    run: Run,
    model: Model,
    store: Store,
    cells: Sequence[Cell],
    *,
    session: Mapping[str, Any],
    batch_size: int | Mapping[int, int] = 1,
    retry_failed: bool = False,
    progress: Callable[[Measurement], None] = lambda _: None,
) -> int:
    """Measure cells of a run on the model, store each as it is finished, and return how many were measured.

    Cells that another process has measured in the meantime are left out. `batch_size` is how many cells are measured
    together, for all context lengths or for each. When memory runs out it is halved, then the model's prefill chunk;
    then keys and values are kept in the processor's memory, where the model may do so. A single cell that still does
    not fit, or gives NaN, is stored as failed, and the run goes on. So are the cells of a length at which the process
    was killed twice in a row, without finishing one (see `deaths.py`). Where several processes hold the model, running
    out of memory ends them all, and counts as such a kill. UserError, before anything is written, when the task cannot
    be measured on this model at all.
    """
    bound = bind(run, model)
    with writer_of(store, run.name, run.description, {"kind": "session", **session}) as writer:
        todo = processes().first(missing(cells, writer.cells, retry_failed=retry_failed))
        deaths = Deaths(writer.folder, writer.part)
        if retry_failed:
            deaths.forget()
        before, shrunk = (model.prefill_chunk, model.offload_cache), dict[str, dict[str, int]]()
        try:
            for length in dict.fromkeys(cell.context_length for cell in todo):
                alike = [cell for cell in todo if cell.context_length == length]
                size = batch_size if isinstance(batch_size, int) else batch_size.get(length, 1)
                killed = max(processes().every(deaths.at(length, len(alike))))
                if killed >= MOST:
                    found = iter([Measurement(cell, error=_killed(killed, length)) for cell in alike])
                else:
                    if killed:
                        size = 1
                        shrunk[str(length)] = {"batch_size": 1, **shortest_chunk(model, length)}
                    found = fitting(run.task, bound, model, alike, size, shrunk)
                with deaths.attempt(length, len(alike)):
                    for measurement in found:
                        writer.append(measurement)
                        progress(measurement)
        finally:
            model.prefill_chunk, model.offload_cache = before
            if shrunk:
                writer.record({"kind": "out_of_memory", "out_of_memory": shrunk})
    return len(todo)


def bind(run: Run, model: Model) -> Measure:
    """Return what measures cells of a run on the model. UserError where the task cannot be measured on it at all."""
    limit = model.max_positions
    if limit is not None and max(run.task.lengths) > limit:
        raise UserError(
            f"{run.checkpoint.label!r} has a table of {limit} positions and cannot run {max(run.task.lengths)} "
            f"tokens; give --max-length {limit}"
        )
    return run.task.bind(model)


def _killed(times: int, length: int) -> str:
    return f"the process was killed {times} times while it measured {length} tokens: too little memory, most likely"


def shortest_chunk(model: Model, length: int) -> dict[str, int]:
    """Let the model read in the shortest chunks that are tried, and return what is to be recorded of that."""
    if min(model.prefill_chunk or length, length) <= SMALLEST_CHUNK:
        return {}
    model.prefill_chunk = SMALLEST_CHUNK
    return {"prefill_chunk": SMALLEST_CHUNK}


class _FullError(Exception):
    """Cells did not fit into memory together."""


def fitting(
    task: Task, bound: Measure, model: Model, cells: Sequence[Cell], size: int, shrunk: dict[str, dict[str, int]]
) -> Iterator[Measurement]:
    """Measure cells of one context length, `size` together; as memory runs out fewer, then in shorter chunks.

    What had to be smaller is written into `shrunk`, by context length.
    """
    left = list(cells)
    length = str(cells[0].context_length)
    while left:
        batch = next(task.batches(left, size)) if size else left[:1]
        started, full = time.perf_counter(), False
        try:
            for measurement in _attempt(bound, batch):
                left.remove(measurement.cell)
                yield measurement
        except _FullError:
            full = True
        if not full:
            refuse_difference("the cells that are measured", [cell in left for cell in batch])
            continue
        refuse_to_shrink(batch[0].context_length)
        torch.cuda.empty_cache()  # past the except block, whose traceback keeps the tensors of the attempt
        if len(batch) > 1:
            size = min(size, len(batch)) // 2  # 0: even what a task never parts, cell by cell
            shrunk.setdefault(length, {})["batch_size"] = max(size, 1)
        elif (chunk := _halved_chunk(model, batch[0].context_length)) is not None:
            shrunk.setdefault(length, {})["prefill_chunk"] = chunk
        elif model.offload_cache == "auto" and model.device.type != "cpu":
            model.offload_cache = "on"
            shrunk.setdefault(length, {})["offload_cache"] = True
        else:
            yield Measurement(left.pop(0), error="out of memory", seconds=time.perf_counter() - started)


def _attempt(bound: Measure, cells: Sequence[Cell]) -> Iterator[Measurement]:
    """Measure cells together, and yield each as soon as it is finished."""
    started, left = time.perf_counter(), list(cells)
    try:
        for measurement in bound(cells):
            yield _timed(measurement, measurement.seconds or (time.perf_counter() - started) / len(cells))
            left.remove(measurement.cell)
    except UserError as error:
        yield from (Measurement(cell, error=str(error)) for cell in left)
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise _FullError from None


def _halved_chunk(model: Model, length: int) -> int | None:
    """Halve the chunks in which the model reads; return their length, or None when they cannot be shorter."""
    now = min(model.prefill_chunk or length, length)
    chunk = max(now // 2, SMALLEST_CHUNK)
    if chunk >= now:
        return None
    model.prefill_chunk = chunk
    return chunk


def _timed(found: Measurement, seconds: float) -> Measurement:
    if not found.finite():
        return Measurement(found.cell, error="the model gave NaN or infinite numbers", seconds=seconds)
    return Measurement(found.cell, found.values, found.rows, seconds=seconds)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of torch or Python means that memory has run out."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in str(error)
