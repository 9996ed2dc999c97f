"""Resuming, failing and identity."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssmax_eval.attention import parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import running
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import measure, missing
from ssmax_eval.store import Store, read_runs
from ssmax_eval.tasks.base import Measure, Task
from ssmax_eval.tasks.loss import Loss

TASK = Loss(lengths=(32, 64), documents=2)


@pytest.fixture(scope="module")
def checkpoint(tiny_folder: Path) -> Checkpoint:
    return Checkpoint(str(tiny_folder))


def run_of(checkpoint: Checkpoint, task: Task = TASK, attention: str = "ssmax") -> Run:
    return Run(checkpoint, parse(attention).resolve(checkpoint.shape), task)


def execute(run: Run, store: Store, **options: Any) -> list[Cell]:
    measured: list[Cell] = []
    with running(run.checkpoint, run.checkpoint.load(), run.attention) as model:
        cells = run.task.cells()
        measure(run, model, store, cells, session={}, progress=lambda m: measured.append(m.cell), **options)
    return measured


def left(run: Run, store: Store, *, retry_failed: bool = False) -> list[Cell]:
    return missing(run.task.cells(), store.cells(run.name), retry_failed=retry_failed)


def test_only_what_is_missing_is_measured(checkpoint: Checkpoint, tmp_path: Path) -> None:
    store, run = Store(tmp_path), run_of(checkpoint)
    assert left(run, store) == run.task.cells()
    assert execute(run, store) == run.task.cells()
    assert left(run, store) == []
    assert execute(run, store) == []
    grown = run_of(checkpoint, replace(TASK, lengths=(32, 48, 64)))
    assert grown.name == run.name
    assert [c.context_length for c in execute(grown, store)] == [48, 48]


def test_whatever_decides_a_number_decides_the_run(checkpoint: Checkpoint, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("word " * 200)
    runs = [
        run_of(checkpoint),
        run_of(checkpoint, attention="ssmax:s=0.9"),
        run_of(checkpoint, attention="softmax"),
        run_of(checkpoint, replace(TASK, seed=1)),
        run_of(checkpoint, replace(TASK, texts=(str(text),))),
        run_of(replace(checkpoint, dtype="bfloat16")),
        run_of(replace(checkpoint, rope_theta_scale=50.0)),
        run_of(replace(checkpoint, train_length=128)),
    ]
    assert len({run.name for run in runs}) == len(runs)
    assert run_of(replace(checkpoint, device="cpu", dtype="float32")).name == runs[0].name


def test_identity_follows_content_not_place(checkpoint: Checkpoint, tmp_path: Path, tiny_folder: Path) -> None:
    import shutil

    copy = tmp_path / tiny_folder.name
    shutil.copytree(tiny_folder, copy)
    assert run_of(Checkpoint(str(copy))).name == run_of(checkpoint).name
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    assert run_of(Checkpoint(str(copy))).name != run_of(checkpoint).name


class Failing(Loss):
    """Runs out of memory beyond one cell of 64 tokens, and gives NaN for document 1 of 32."""

    def bind(self, model: Any) -> Measure:
        def measure(cells: Sequence[Cell]) -> list[Measurement]:
            batches.append(list(cells))
            if sum(cell.context_length for cell in cells) > 32:
                raise (
                    torch.OutOfMemoryError("no memory left")
                    if len(cells) > 1
                    else RuntimeError("DefaultCPUAllocator: can't allocate memory")
                )
            return [Measurement(c, {"score": float("nan") if c.document else 1.0}) for c in cells]

        batches: list[list[Cell]] = []
        type(self).batches_seen = batches  # type: ignore[attr-defined]
        return measure


def test_failures_are_recorded_and_the_run_goes_on(checkpoint: Checkpoint, tmp_path: Path) -> None:
    store, run = Store(tmp_path), run_of(checkpoint, Failing(lengths=(32, 64), documents=2))
    execute(run, store, batch_size=2)
    assert [len(batch) for batch in Failing.batches_seen] == [2, 1, 1, 2, 1, 1]  # type: ignore[attr-defined]
    found = store.cells(run.name)
    assert [m.error for m in found.values()] == [
        None,
        "the model gave NaN or infinite numbers",
        "out of memory",
        "out of memory",
    ]
    assert left(run, store) == []
    assert len(left(run, store, retry_failed=True)) == 3
    assert len(execute(run, store, retry_failed=True)) == 3


class Tight(Loss):
    """Holds at most 1,300 tokens at a time, or a chunk of so many where the model reads in chunks."""

    def bind(self, model: Any) -> Measure:
        plain = super().bind(model)

        def measure(cells: Sequence[Cell]) -> list[Measurement]:
            length = cells[0].context_length
            tried.append((length, len(cells), model.prefill_chunk))
            if len(cells) * min(length, model.prefill_chunk or length) > 1300:
                raise torch.OutOfMemoryError("no memory left")
            return list(plain(cells))

        tried: list[tuple[int, int, int | None]] = []
        type(self).tried = tried  # type: ignore[attr-defined]
        return measure


def test_out_of_memory_shrinks_the_batch_then_the_chunk(checkpoint: Checkpoint, tmp_path: Path) -> None:
    store, run = Store(tmp_path), run_of(checkpoint, Tight(lengths=(600, 1400, 4000), documents=3))
    with running(run.checkpoint, run.checkpoint.load(), run.attention) as model:
        model.prefill_chunk = None
        measure(run, model, store, run.task.cells(), session={}, batch_size={600: 3, 1400: 2})
        assert model.prefill_chunk is None
    assert Tight.tried == [  # type: ignore[attr-defined]
        *[(600, 3, None), *[(600, 1, None)] * 3],
        *[(1400, 2, None), (1400, 1, None), *[(1400, 1, 700)] * 3],
        *[(4000, 1, 700)] * 3,
    ]
    assert all(m.error is None for m in store.cells(run.name).values())
    assert len(store.cells(run.name)) == 9
    (description,) = read_runs(tmp_path).values()
    assert description["sessions"][-1] == {
        "kind": "out_of_memory",
        "out_of_memory": {"600": {"batch_size": 1}, "1400": {"batch_size": 1, "prefill_chunk": 700}},
    }


class Unparted(Tight):
    """A task that gives all cells of a length at once, whatever the size, and finishes them one by one."""

    def batches(self, cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
        yield list(cells)

    def bind(self, model: Any) -> Measure:
        def measure(cells: Sequence[Cell]) -> Iterator[Measurement]:
            for i, cell in enumerate(cells):
                if (i == 2 and len(cells) > 2) or cell.document == 3:
                    raise torch.OutOfMemoryError("no memory left")
                yield Measurement(cell, {"score": 1.0})

        return measure


def test_what_a_batch_finished_before_memory_ran_out_is_kept(checkpoint: Checkpoint, tmp_path: Path) -> None:
    store, run = Store(tmp_path), run_of(checkpoint, Unparted(lengths=(64,), documents=5))
    assert [cell.document for cell in execute(run, store)] == [0, 1, 2, 3, 4]
    assert [m.error for m in store.cells(run.name).values()] == [None, None, None, "out of memory", None]


def test_a_bug_is_not_a_failure(checkpoint: Checkpoint, tmp_path: Path) -> None:
    class Buggy(Loss):
        def bind(self, model: Any) -> Measure:
            def measure(cells: Sequence[Cell]) -> list[Measurement]:
                raise RuntimeError("shape mismatch")

            return measure

    with pytest.raises(RuntimeError, match="shape mismatch"):
        execute(run_of(checkpoint, Buggy(lengths=(32,))), Store(tmp_path))


def test_nothing_is_written_when_the_task_cannot_be_measured(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give a longer --text"):
        execute(run_of(checkpoint, Loss(lengths=(10**7,))), Store(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
