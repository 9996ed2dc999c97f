"""A length at which the process is killed is tried twice, and then passed over as failed."""

import json
import multiprocessing
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ssmax_eval.attention import parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import running
from ssmax_eval.run.deaths import NOTE, Deaths
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import measure, missing
from ssmax_eval.store import Store
from ssmax_eval.tasks.base import Measure
from ssmax_eval.tasks.loss import Loss


class Deadly(Loss):
    """Kills its process at 64 tokens."""

    def bind(self, model: Any) -> Measure:
        def measured(cells: Sequence[Cell]) -> list[Measurement]:
            if cells[0].context_length == 64:
                os.kill(os.getpid(), signal.SIGKILL)
            return [Measurement(cell, {"score": 1.0}) for cell in cells]

        return measured


TASK = Deadly(lengths=(32, 64, 96), documents=2)


def command(folder: str, root: str, retry: bool = False) -> None:
    """Do what one command does, in a process of its own."""
    torch.set_num_threads(1)  # a fork has none of the other threads of its parent
    checkpoint = Checkpoint(folder)
    run = Run(checkpoint, parse("softmax").resolve(checkpoint.shape), TASK)
    store = Store(root)
    with running(checkpoint, checkpoint.load(), run.attention) as model:
        cells = missing(TASK.cells(), store.cells(run.name), retry_failed=retry)
        measure(run, model, store, cells, session={}, batch_size=2, retry_failed=retry)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_killed_its_process_twice_is_stored_as_failed(tiny_folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    name = Run(checkpoint, parse("softmax").resolve(checkpoint.shape), TASK).name
    exits, counts = [], []
    context = multiprocessing.get_context("fork")  # a new interpreter would import torch for seconds
    for _ in range(3):
        process = context.Process(target=command, args=(str(tiny_folder), str(tmp_path)))
        process.start()
        process.join(120)
        exits.append(process.exitcode)
        counts.append(len(Store(tmp_path).cells(name)))
    assert exits == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert counts == [2, 2, 6]
    found = Store(tmp_path).cells(name)
    assert [m.error is None for m in found.values()] == [True, True, False, False, True, True]
    assert "killed 2 times while it measured 64 tokens" in str(found[Cell(64, document=0)].error)
    assert not (tmp_path / name / NOTE).exists()


def test_only_deaths_without_progress_add_up(tmp_path: Path) -> None:
    left_open = []

    def dies_at(length: int, missing: int) -> int:
        deaths = Deaths(tmp_path)
        left_open.append(deaths.attempt(length, missing))
        left_open[-1].__enter__()  # and never leaves: the process is gone
        return deaths.at(length, missing) - 1

    assert [dies_at(64, 9), dies_at(64, 9), dies_at(64, 5), dies_at(128, 5)] == [0, 1, 1, 0]
    assert Deaths(tmp_path).at(128, 5) == 1
    assert Deaths(tmp_path).at(64, 5) == 0
    with Deaths(tmp_path).attempt(128, 5):
        assert json.loads((tmp_path / NOTE).read_text())["deaths"] == 1
    assert Deaths(tmp_path).at(128, 5) == 0


@pytest.mark.parametrize("content", ["", "[]", "{", '{"deaths": "x"}', "[" * 100_000])
def test_a_damaged_note_counts_for_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / NOTE).write_text(content)
    assert Deaths(tmp_path).at(64, 2) == 0
