"""A checkpoint that was trained on 128 tokens is asked to read 256, once for all tests."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.extend.budget import Budget
from ssmax_eval.extend.calibrated import WAYS
from ssmax_eval.extend.candidates import Candidate
from ssmax_eval.extend.extend import Extension
from ssmax_eval.extend.rungs import Asked
from ssmax_eval.tasks.trained import words_of
from tests.documents import ROOT

SOFTMAX = Checkpoint(str(ROOT / "checkpoints" / "softmax-seed0"))
TRIED = (Candidate(), Candidate(position="rerope:window=64"), Candidate(position="nope"))


def extension(folder: Path, budget: float | None = None, way: str = "none") -> Extension:
    """An evaluation whose runs lie in folder/runs."""
    words = words_of(SOFTMAX.folder)
    asked = Asked(to=256, trained=128, documents=9, needles="niah", words={**words, "chat_template": False})
    return Extension(
        SOFTMAX, asked, str(folder / "runs"), folder, WAYS[way], Budget(SOFTMAX, budget), lambda _: None, False
    )


def stored(folder: Path) -> Sequence[str]:
    """The lines of all cells, without their seconds, sorted."""
    lines = (line for file in folder.glob("runs/*/cells.jsonl") for line in file.read_text().splitlines())
    return sorted(line.partition('"seconds"')[0] for line in lines)


@pytest.fixture(scope="package")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished evaluation."""
    folder = tmp_path_factory.mktemp("extend")
    extension(folder).run(TRIED)
    return folder
