"""A task of the user's own that kills its worker, and how its measurements are compared with undisturbed ones."""

from pathlib import Path

import pytest

from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.run.plan import Plan

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
