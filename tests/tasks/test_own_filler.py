"""A filler for each depth: cells are then independent, and reports say so."""

from pathlib import Path

import pytest

import ssmax_eval
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.report import compare
from ssmax_eval.report.quantities import cluster_names, find
from ssmax_eval.report.series import labelled
from ssmax_eval.tasks.dense import NiahDense
from ssmax_eval.tasks.niah import Niah

GRID = {"lengths": (256,), "depths": (0.0, 0.5, 1.0), "trials": 2, "digits": 5}


def test_each_depth_has_a_filler_of_its_own(tiny_folder: Path) -> None:
    tokenizer = ssmax_eval.load(str(tiny_folder), "softmax").tokenizer
    shared, own = Niah(**GRID), Niah(**GRID, own_filler=True)  # type: ignore[arg-type]

    def begins(task: Niah) -> set[str]:
        """The first words of the filler, which needles at depths 0.5 and 1 come after."""
        texts = [task.prompt(Cell(256, depth=depth, trial=0), tokenizer) for depth in (0.5, 1.0)]
        return {" ".join(text.partition("asked for it.")[2].split()[:5]) for text in texts}

    assert len(begins(shared)) == 1
    assert len(begins(own)) == 2
    assert "own_filler" not in shared.settings()
    assert own.settings()["own_filler"] is True


def test_cells_are_then_what_is_repeated(tiny_folder: Path, tmp_path: Path) -> None:
    frames = {}
    for own in (False, True):
        frame = labelled(ssmax_eval.evaluate(
            str(tiny_folder), attention=["softmax", "ssmax"], output=tmp_path / str(own),
            tasks=[Niah(**GRID, own_filler=own)],  # type: ignore[arg-type]
        ))  # fmt: skip
        frames[own] = frame
        names = cluster_names(frame, find(frame, "score"))
        assert names == (["haystack"] if own else ["trial"])
    together = compare(frames[True], baseline="softmax").query("context_length == 0 and quantity == 'needles found'")
    assert together["units"].tolist() == [6]
    assert len(frames[True]["haystack"].unique()) == 6


def test_one_haystack_for_all_depths_has_no_fillers_of_their_own() -> None:
    with pytest.raises(UserError, match="own_filler must be false"):
        NiahDense(lengths=(128,), own_filler=True)
