"""`ssmax-eval harness` where lm-evaluation-harness is not installed: one clear line, and stored runs are read."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import ssmax_eval
from ssmax_eval.cli import main
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.run.listing import list_runs
from ssmax_eval.store import Store
from ssmax_eval.tasks.harness.task import Harness

MISSING = "lm-evaluation-harness is not installed; pip install 'ssmax-eval[harness]'"


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssmax_eval.model.harness.find_spec", lambda name: None)


@pytest.mark.usefixtures("missing")
def test_without_the_harness_one_line_says_how_to_get_it(tiny_folder: Path, tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    result = CliRunner().invoke(main, ["harness", str(tiny_folder), "--tasks", "hellaswag", "-o", runs])
    assert (result.exit_code, result.stderr) == (2, f"Error: {MISSING}\n")
    assert not Path(runs).exists()
    with pytest.raises(UserError, match="is not installed"):
        ssmax_eval.lm(str(tiny_folder))


@pytest.mark.usefixtures("missing")
def test_stored_benchmarks_are_listed_compared_and_shown_without_the_harness(tmp_path: Path) -> None:
    task = Harness(lengths=(64,), benchmark="arc_easy", preset="arc_easy", documents=9, data="d", config="c")
    accuracy = Quantity("acc", "accuracy (arc_easy)", "share", "higher", pool="share", units=("document",))
    for attention, right in (("softmax", 8), ("ssmax", 2)):
        about = {"checkpoint": "tiny", "attention": attention, "task": task.name}
        run = {
            "columns": {**about, "train_length": 64, "dtype": "float32", "rope": ""},
            "quantities": [accuracy.to_json()],
            "identity": {"checkpoint": {}, "attention": {"name": attention}, "task": task.identity()},
        }
        given = {"given": {"checkpoint": "tiny", "grid": task.grid_settings()}}
        with Store(tmp_path).writer(f"tiny_{attention}_arc_easy", run, given) as writer:
            for cell in task.cells()[:8]:
                number = cell.document or 0
                writer.append(Measurement(cell, {"acc": float(number < right), "prompt_digest": f"p{number}"}))
    Store(tmp_path).note("tiny_ssmax_arc_easy", {"kind": "harness", "results": {"acc,none": 0.25}})
    assert [(one.task, one.done, one.missing) for one in list_runs([tmp_path])] == [("arc_easy", 8, 1)] * 2
    lines = CliRunner().invoke(main, ["compare", str(tmp_path), "--json"]).stdout
    (whole,) = (one for one in json.loads(lines)["differences"] if one["context_length"] == 0)
    assert (whole["n"], whole["mean"], whole["lost"]) == (8, -0.75, 6)
    shown = CliRunner().invoke(main, ["show", str(tmp_path / "tiny_ssmax_arc_easy")]).stdout
    assert shown.splitlines()[0].split() == ["context_length=64,document=0", "acc", "1.0"]
    assert task.cells()[8] == Cell(64, document=8)
