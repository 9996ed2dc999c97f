"""A task of the user's own, as files outside the package."""

from pathlib import Path

TASK = '''
"""Copying: is the second half of a sequence, which repeats the first, easier to predict?"""

from dataclasses import dataclass

import torch

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.tasks import Task, grid
from tokens import drawn


@dataclass(frozen=True, kw_only=True)
class CopyingText(Task):
    quantities = (Quantity("gain", "loss saved by copying", "nats per token", "higher", units=("trial",)),)

    gaps: tuple[int, ...] = grid((0, 8))
    trials: int = grid(2)
    scale: float = 1.0

    def cells(self):
        return [Cell.of(n, trial=t, gap=g) for n in self.lengths for t in range(self.trials) for g in self.gaps]

    def bind(self, model):
        if not model.tokenizer:
            raise UserError("needs a tokenizer")

        def measure(cells):
            for cell in cells:
                gap = cell.coordinates()["gap"]
                half = drawn(self.seed, cell.trial, cell.context_length // 2)
                losses = model.token_losses(torch.tensor(half + drawn(9, 9, gap) + half))
                first, second = losses[: len(half) - 1].mean(), losses[len(half) + gap :].mean()
                yield Measurement(cell, {"gain": self.scale * float(first - second)}, {"nll": losses.tolist()})

        return measure
'''

TOKENS = """
import random

BELOW = 500

def drawn(seed, trial, count):
    draw = random.Random(repr((seed, trial)))
    return [draw.randrange(50, BELOW) for _ in range(count)]
"""


def write_task(folder: Path) -> Path:
    """Write the task and its helper module; return the task's file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.py").write_text(TOKENS)
    path = folder / "my_task.py"
    path.write_text(TASK)
    return path
