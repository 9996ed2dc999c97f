"""Commands for programs: JSON on stdout and nothing else there, and lists of what a store holds."""

import dataclasses
import inspect
import json
import math
from pathlib import Path

import pytest

import ssmax_eval
from ssmax_eval import read_results
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.cli.main import main
from ssmax_eval.report.summary import measures
from ssmax_eval.run.evaluate import evaluate, prepare
from ssmax_eval.run.listing import RunState, list_runs
from ssmax_eval.run.workers import Ray
from tests.cli.typed import answer, call
from tests.run.own import write_task

LOSS = ["--task", "loss", "--lengths", "16,32", "--documents", "2"]


def failed(line: str) -> str:
    """The line of a cell as it would be if the cell had failed."""
    return json.dumps({"cell": json.loads(line)["cell"], "seconds": 1.0, "error": "out of memory"})


@pytest.fixture(scope="module")
def runs(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two runs of three documents, of which the first has one failed cell and the second lacks two."""
    root = tmp_path_factory.mktemp("store") / "runs"
    call("run", tiny_folder, *LOSS, "--attention", "softmax", "--attention", "ssmax:s=0.3", "-o", root)
    (first,), (second,) = root.glob("*_softmax_*"), root.glob("*_ssmax*")
    lines = (first / "cells.jsonl").read_text().splitlines()
    (first / "cells.jsonl").write_text("\n".join([failed(lines[0]), *lines[1:]]) + "\n")
    lines = (second / "cells.jsonl").read_text().splitlines()
    (second / "cells.jsonl").write_text("\n".join(lines[:2]) + "\n")
    return root


def test_run(tiny_folder: Path, tmp_path: Path) -> None:
    command = ["run", tiny_folder, *LOSS, "--attention", "softmax", "-o", tmp_path / "runs"]
    (planned,) = answer(*command, "--dry-run")["forecast"]
    assert (planned["task"], planned["attention"], planned["cells"], planned["todo"]) == ("loss", "softmax", 4, 4)
    assert planned["tokens"] == 96
    result = call(*command, "--json", "--quiet")
    assert result.stderr == ""
    there = json.loads(result.stdout)
    assert set(there) == {"output", "runs", "results"}
    (run,) = there["runs"]
    assert set(run) == set(RunState._fields)
    assert Path(run["folder"]).is_dir()
    assert (run["done"], run["failed"], run["missing"], run["problem"]) == (4, 0, 0, None)
    assert [row["context_length"] for row in there["results"]] == [16, 32]
    assert [row["mean"] for row in there["results"]] == measures(read_results(tmp_path / "runs"))["mean"].tolist()
    assert {"series", "quantity", "mean", "low", "high", "n", "failed"} <= set(there["results"][0])


def test_a_run_without_any_good_cell_says_where_it_is(tiny_folder: Path, tmp_path: Path) -> None:
    command = ["run", tiny_folder, "--task", "loss", "--lengths", "16", "--documents", "1", "-o", tmp_path / "runs"]
    call(*command)
    (cells,) = (tmp_path / "runs").glob("*/cells.jsonl")
    cells.write_text(failed(cells.read_text()) + "\n")
    result = call(*command)
    assert result.exit_code == 2
    assert f"Stored in:\n  {cells.parent}\n" in result.stderr
    assert "no cell of these results has been measured successfully" in result.stderr.splitlines()[-1]
    there = answer(*command)
    assert there["results"] == []
    assert (there["runs"][0]["done"], there["runs"][0]["failed"]) == (0, 1)


def test_a_mistake_leaves_stdout_empty(tiny_folder: Path, tmp_path: Path) -> None:
    result = call("run", tiny_folder, "--task", "lossy", "-o", tmp_path / "runs", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: unknown task 'lossy'; did you mean 'loss'?\n"


def test_compare(runs: Path) -> None:
    there = answer("compare", runs, "--baseline", "softmax")
    table = ssmax_eval.compare(runs, "softmax")
    means = [None if math.isnan(mean) else mean for mean in table["mean"]]
    assert [row["mean"] for row in there["differences"]] == means
    assert None in means
    assert list(there["differences"][0]) == list(table.columns)
    assert there["sentences"] == call("compare", runs, "--baseline", "softmax").stdout.splitlines()


def test_check(tiny_folder: Path, tmp_path: Path) -> None:
    there = answer("check", tiny_folder, "--attention", "softmax", "--attention", "lssar:p=3")
    assert (there["checked"], there["good"]) == (str(tiny_folder), True)
    found = [one["name"] for one in there["findings"] if one["about"] == "attention"]
    assert found == ["softmax", "lssar:p=3"]
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from dataclasses import dataclass\nfrom ssmax_eval.attention import Attention\n"
        "@dataclass(frozen=True)\nclass Broken(Attention):\n"
        "    def weights(self, rows):\n        return rows.scores\n"
    )
    result = call("check", f"{broken}:Broken", "--json")
    assert result.exit_code == 2
    clauses = json.loads(result.stdout)["findings"]
    assert {one["about"] for one in clauses} == {"clause"}
    assert [one for one in clauses if not one["good"]]
    assert all(bool(one["problem"]) != one["good"] for one in clauses)


def test_runs_counts_done_failed_and_missing(runs: Path) -> None:
    there = answer("runs", runs)["runs"]
    assert [(one["attention"], one["done"], one["failed"], one["missing"]) for one in there] == [
        ("softmax", 3, 1, 0),
        ("ssmax:s=0.3", 2, 0, 2),
    ]
    head, first, second = call("runs", runs).stdout.splitlines()
    assert head.split() == ["run", "checkpoint", "attention", "task", "done", "failed", "missing"]
    assert first.split()[1:] == ["tiny-llama", "softmax", "loss", "3", "1", "0"]
    assert second.split()[1:] == ["tiny-llama", "ssmax:s=0.3", "loss", "2", "0", "2"]


def test_runs_with_one_that_cannot_be_read(runs: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("[]")
    own = f"{write_task(tmp_path / 'own')}:CopyingText"
    call("run", tiny_folder, "--task", own, "--attention", "softmax", "--lengths", "16", "-o", tmp_path)
    found = {one.task: one for one in list_runs([tmp_path])}
    assert "does not describe a run" in str(found[None].problem)
    assert found["copying_text"].missing is None
    result = call("runs", tmp_path)
    assert result.stdout.splitlines()[1].endswith("?")
    assert result.stderr.startswith("damaged cannot be read: ")
    assert "no runs in" in call("runs", tmp_path / "own").stderr


def test_show_without_a_cell_lists_them(runs: Path) -> None:
    (first,) = runs.glob("*_softmax_*")
    lines = call("show", first).stdout.splitlines()
    assert lines[0] == "context_length=16,document=0  failed: out of memory"
    assert lines[1] == "context_length=16,document=1  15 values of nll"
    assert "nats per token" in call("show", first, "--cell", lines[1].split()[0]).stdout
    assert "holds several runs; give one of them: tiny-llama_softmax" in call("show", runs).stderr
    assert "Missing option '--cell'" in call("reconstruct", first).stderr


def test_show_as_json(runs: Path) -> None:
    (first,) = runs.glob("*_softmax_*")
    cells = answer("show", first)["cells"]
    assert [(one["cell"]["context_length"], one["cell"]["document"], one["error"]) for one in cells] == [
        (16, 0, "out of memory"), (16, 1, None), (32, 0, None), (32, 1, None),
    ]  # fmt: skip
    where = "context_length=16,document=1"
    one = answer("show", first, "--cell", where)
    assert {name: one[name] for name in cells[1]} == cells[1]
    assert one["rows"]["nll"] == read_results(first).query("context_length == 16 and document == 1").nll.tolist()
    assert one["text"] == call("show", first, "--cell", where).stdout.removesuffix("\n")


def test_every_option_of_run_can_be_given_from_python() -> None:
    """What remains is of the command line alone: how its result is printed, and where its options come from."""
    python = {*inspect.signature(evaluate).parameters, *inspect.signature(prepare).parameters}
    python |= {field.name for cls in (Checkpoint, Ray) for field in dataclasses.fields(cls)}
    named = {
        "attentions": "attention",
        "positions": "position",
        "no_chat_template": "chat_template",
        "quiet": "progress",
    }
    options = {named.get(one.name or "", one.name) for one in main.commands["run"].params}
    assert options - python == {"config", "as_json", "dry_run"}
