"""Workers of a Ray cluster: what they measure, how they die, and what the driver makes of it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.plan import Plan, execute
from ssmax_eval.run.workers import Ray
from ssmax_eval.store import read_runs

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves the log files of its processes open
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
GUILTY = Cell(64, document=1)
OWN = """
import os, signal, time
from dataclasses import dataclass
from pathlib import Path

import torch

from ssmax_eval.attention import SSMax
from ssmax_eval.tasks import grid
from ssmax_eval.tasks.loss import Loss
from deadly import kill

SECONDS = float(Path(__file__).with_name("seconds.txt").read_text())


@dataclass(frozen=True, kw_only=True)
class Poison(Loss):
    guilty: int = grid(-1)
    threads: int = grid(0)

    def bind(self, model):
        plain = super().bind(model)

        def measure(cells):
            for cell in cells:
                time.sleep(SECONDS)
                if (cell.context_length, cell.document) == (64, self.guilty) and type(model.attention) is SSMax:
                    kill()
            assert self.threads in (0, torch.get_num_threads())
            return plain(cells)

        return measure
"""
DEADLY = """
import os, signal

def kill():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def own_task(folder: Path, seconds: float) -> str:
    """Write a task of the user's own, with a module and a file of data; a cell of it takes some seconds."""
    folder.mkdir()
    (folder / "deadly.py").write_text(DEADLY)
    (folder / "seconds.txt").write_text(str(seconds))
    (folder / "own.py").write_text(OWN)
    return f"{folder / 'own.py'}:Poison"


def values(plan: Plan) -> dict[tuple[str, Cell], Measurement]:
    """All that a plan's runs have stored."""
    return {
        (run.attention.__class__.__name__, c): m for run in plan.runs for c, m in plan.store.cells(run.name).items()
    }


def same(found: Measurement, expected: Measurement) -> bool:
    """Whether two measurements agree, up to the rounding of cells that ran beside others."""
    assert found.error == expected.error
    return found.values == pytest.approx(expected.values, abs=1e-5) and found.rows["nll"] == pytest.approx(
        expected.rows["nll"], abs=1e-5
    )


def test_a_cell_that_kills_its_workers_is_named_and_all_else_is_measured(
    tiny_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSMAX_EVAL_CACHE", str(tmp_path / "cache"))
    tasks, grid = own_task(tmp_path / "code", 0.0), {"lengths": [32, 64], "documents": 4}
    own = {"settings": {"guilty": GUILTY.document, "threads": 1}}
    plan = prepare(str(tiny_folder), ["softmax", "ssmax"], tasks, tmp_path / "runs", **grid, **own)
    alone = prepare(str(tiny_folder), ["softmax", "ssmax"], "loss", tmp_path / "alone", **grid)
    said: list[str] = []
    execute(plan, ray=Ray(workers=2), batch_size=2, say=said.append, progress=False)
    execute(alone, batch_size=2, progress=False)
    found, expected = values(plan), values(alone)
    assert len(found) == len(expected) == 16
    assert "3 workers died" in str(found.pop(("SSMax", GUILTY)).error)
    del expected["SSMax", GUILTY]
    assert all(same(found[cell], expected[cell]) for cell in expected)
    assert sum("context_length=64,document=1 is given up" in line for line in said) == 1
    assert sum("; it is started again" in line for line in said) == 3
    for record in read_runs(tmp_path / "runs").values():
        assert record["sessions"][0]["workers"] == 2
        assert record["sessions"][0]["given"]["task"] == tasks
    assert capfd.readouterr().out == ""
    assert not ray.is_initialized()
