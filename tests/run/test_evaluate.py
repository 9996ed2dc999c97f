"""From Python: the same runs as from the command line, in silence."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import ssmax_eval
from ssmax_eval.attention import parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.forecast import forecasts
from ssmax_eval.run.stored import find
from ssmax_eval.tasks import load
from ssmax_eval.tasks.loss import Loss
from tests.run.own import write_task


def test_it_is_what_the_command_line_does(tiny_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {
        "lengths": [200, 256],
        "depths": [0, 1],
        "trials": 1,
        "documents": 2,
        "settings": {"digits": 5},
    }
    attentions, tasks = ["softmax", "lssar:p=3"], ["niah", "loss"]
    capfd.readouterr()
    frame = ssmax_eval.evaluate(str(tiny_folder), attentions, tasks, tmp_path / "runs", **options)
    out, err = capfd.readouterr()
    assert (out, "copying" in err, "cells" in err) == ("", False, False)
    assert set(frame.task) == set(tasks)
    assert set(frame.attention) == set(attentions)
    assert set(frame.query("task == 'niah'").expected.str.len()) == {5}
    line = ["run", str(tiny_folder), "--task", "niah,loss", "--attention", "softmax", "--attention", "lssar:p=3"]
    line += ["--lengths", "200,0.25k", "--depths", "0,1", "--trials", "1", "--documents", "2", "--set", "digits=5"]
    again = CliRunner().invoke(main, [*line, "-o", str(tmp_path / "runs")], catch_exceptions=False)
    assert "Everything is in the store already" in again.stderr
    assert len(frame) == len(ssmax_eval.read_results(tmp_path / "runs"))


def test_everything_may_be_an_object(tiny_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    yaml = tmp_path / "mine.yaml"
    yaml.write_text("task: loss\nlengths: [16]\ndocuments: 1\n")
    own = type(load(f"{write_task(tmp_path / 'own')}:CopyingText", {"lengths": [8]}))
    frame = ssmax_eval.evaluate(
        Checkpoint(str(tiny_folder)), parse("ssmax:s=0.3"), [Loss(lengths=(24,), documents=1), str(yaml), own],
        tmp_path / "runs", settings={"trials": 1}, max_length=24, lengths=[16, 24, 99], say=said.append,
    )  # fmt: skip
    assert set(frame.context_length) == {16, 24}
    assert set(frame.task) == {"loss", "copying_text"}
    assert frame.run.nunique() == 2
    assert "left out beyond --max-length: 99" in said[0]


def test_a_plan_says_what_it_would_cost_and_writes_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    planned = prepare(str(tiny_folder), "softmax", "loss", tmp_path / "runs", lengths=[16, 32], documents=3)
    (one,) = forecasts(planned)
    assert (one.task, one.cells, one.todo, one.tokens) == ("loss", 6, 6, 144)
    assert not (tmp_path / "runs").exists()


def test_mistakes_are_user_errors(tiny_folder: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"dtyp": "float32"}, "unknown option: 'dtyp'"),
        ({"lengths": ["many"]}, "must be a whole number; got 'many'"),
        ({"prefill_chunk": 0}, "prefill_chunk must be 1 or more"),
        ({"settings": {"depht": 1}}, "did you mean 'depths'"),
    ):
        with pytest.raises(UserError, match=message):
            ssmax_eval.evaluate(str(tiny_folder), "softmax", "niah", tmp_path / "runs", **options)
    with pytest.raises(UserError, match="'dtype' is given with the Checkpoint itself"):
        ssmax_eval.evaluate(Checkpoint(str(tiny_folder)), dtype="float32", output=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_findings_of_a_check(tiny_folder: Path) -> None:
    *_, last = ssmax_eval.check(str(tiny_folder), ["lssar:p=3"])
    assert last.good
    assert str(last) == "ok       lssar:p=3"


def test_a_cell_is_found_among_several_runs_or_they_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    ssmax_eval.evaluate(str(tiny_folder), ["softmax", "ssmax:s=0.3"], "loss", runs, lengths=[32], documents=1)
    ssmax_eval.evaluate(str(tiny_folder), "softmax", "loss", runs, lengths=[48], documents=2)
    with pytest.raises(
        UserError, match=r"holds several runs with a cell .*tiny-llama_softmax_loss_.*_ssmax-s-0.3_loss"
    ):
        find(str(runs), "context_length=32,document=0")
    with pytest.raises(UserError, match="holds several runs, and none has a cell"):
        find(str(runs), "context_length=64,document=0")
    found = find(str(runs), "context_length=48,document=1")
    assert found.measurement.cell.document == 1
    with pytest.raises(UserError, match=r"several cells of .* fit"):
        find(str(runs), "context_length=48")
    (folder,) = runs.glob("*_softmax_*")
    sessions = folder / "sessions.jsonl"
    lines = [json.loads(line) for line in sessions.read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["session", "session"]
    sessions.write_text(sessions.read_text() + json.dumps({"kind": "out_of_memory", "out_of_memory": {}}) + "\n")
    assert find(str(folder), "context_length=48,document=1").show() == found.show()
