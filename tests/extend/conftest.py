"""A checkpoint that was trained on 128 tokens is asked to read 256, once for all tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.extend.budget import Budget
from ssmax_eval.extend.calibrated import WAYS
from ssmax_eval.extend.candidates import Candidate
from ssmax_eval.extend.extend import Extension, Outcome
from ssmax_eval.extend.rungs import Asked
from ssmax_eval.extend.values import Values
from ssmax_eval.tasks.trained import words_of
from tests.documents import ROOT

SOFTMAX = Checkpoint(str(ROOT / "checkpoints" / "softmax-seed0"))
LETTERS = 15_000
"""Enough for nine documents."""
HELPS = Candidate(position="rerope:window=64", attention="logn")
TRIED = (Candidate(), HELPS)


class Done(NamedTuple):
    """A finished evaluation."""

    folder: Path
    outcome: Outcome


def extension(folder: Path, budget: float | None = None, way: str = "none") -> Extension:
    """An evaluation whose runs lie in folder/runs."""
    words = words_of(SOFTMAX.folder)
    asked = Asked(
        to=256, trained=128, documents=9, trials=8, texts=(str(text(folder)),), needles="niah",
        words={**words, "chat_template": False},
    )  # fmt: skip
    return Extension(
        SOFTMAX, asked, str(folder / "runs"), folder, WAYS[way], Budget(SOFTMAX, budget), lambda _: None, False
    )


def text(folder: Path) -> Path:
    """A part of a novel, which the checkpoint was trained on the like of; short, since it is read often."""
    file = folder / "emma.txt"
    if not file.exists():
        whole = (ROOT / "tests" / "data" / "emma.txt").read_text(encoding="utf-8")
        file.write_text(whole[:LETTERS], encoding="utf-8")
    return file


def stored(folder: Path) -> Sequence[str]:
    """The lines of all cells, without their seconds, sorted."""
    lines = (line for file in folder.glob("runs/*/cells.jsonl") for line in file.read_text().splitlines())
    return sorted(line.partition('"seconds"')[0] for line in lines)


def with_copy(found: Values, name: str, copy: str, shift: float) -> Values:
    """The values with those of a candidate once more by another name, every loss higher by `shift`."""
    frame = found.frame.astype({"attention": str, "series": str, "run": str})
    mine = frame[frame["attention"] == name]
    moved = {column: mine[column] + shift for column in ("nll", "loss_long") if column in mine}
    mine = mine.assign(attention=copy, series=copy, run=mine["run"] + copy, **moved)
    every = pd.concat([frame, mine], ignore_index=True)
    every = every.astype({"attention": "category", "series": "category", "run": "category"})
    every.attrs = found.frame.attrs
    return Values(every, found.asked)


@pytest.fixture(scope="package")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A finished evaluation."""
    folder = tmp_path_factory.mktemp("extend")
    return Done(folder, extension(folder).run(TRIED))
