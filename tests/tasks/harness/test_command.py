"""`ssmax-eval harness`: what it stores and prints, what it refuses, and what decides its numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.store import read_runs
from ssmax_eval.tasks.harness.chosen import harness_tasks
from ssmax_eval.tasks.harness.metrics import metrics_of
from ssmax_eval.tasks.harness.task import Harness
from tests.tasks.harness.examples import BODIES, HEAD, call


def test_the_command_stores_prints_and_goes_on(tiny_folder: Path, files: Path, tmp_path: Path) -> None:
    line = [
        *("harness", tiny_folder, "--tasks", "tiny", "--attention", "softmax", "--attention", "ssmax"),
        *("--include-path", files, "-o", tmp_path, "--json", "--quiet"),
    ]
    found = json.loads(call(*line, "--limit", 6).stdout)["results"]
    assert {(one["task"], one["metric"], one["attention"].partition(":")[0]) for one in found} >= {
        ("tiny_choice", "acc,none", "softmax"),
        ("tiny_last", "perplexity,none", "ssmax"),
    }
    assert {one["documents"] for one in found} == {6, 12}
    means = {(one["task"], one["attention"]): one["value"] for one in found if one["metric"] == "acc,none"}
    for attention in {name for _, name in means}:
        both = [means["tiny_choice", attention], means["tiny_last", attention]]
        assert means["tiny", attention] == pytest.approx(sum(both) / 2)
    again = call(*line, "--limit", 6)
    assert json.loads(again.stdout)["results"] == found
    more = json.loads(call(*line).stdout)["results"]
    assert {one["documents"] for one in more} == {7, 14}
    records = read_runs(tmp_path)
    assert len(records) == 4
    for record in records.values():
        kinds = [one["kind"] for one in record["sessions"]]
        assert kinds == ["session", "harness", "session", "harness"]
        task = record["identity"]["task"]
        assert (task["benchmark_version"], task["shots"], task["chat_template"]) == ("2.0", 0, False)
        assert {"include", "texts_path"}.isdisjoint(task)
    told = {name: one["sessions"][-1] for name, one in records.items() if "softmax_tiny_choice" in name}
    ((_, last),) = told.items()
    shares = [one for one in more if one["task"] == "tiny_choice" and one["attention"] == "softmax"]
    assert last["results"]["acc,none"] == next(one["value"] for one in shares if one["metric"] == "acc,none")
    assert last["results"]["acc_stderr,none"] == next(one["stderr"] for one in shares if one["metric"] == "acc,none")
    assert "on 7 identical documents" in call("compare", tmp_path).stdout
    assert " 7 " in call("runs", tmp_path).stdout
    report = call("report", tmp_path, "-o", tmp_path / "report")
    assert report.exit_code == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Accuracy (tiny_choice)" in page
    assert "Effective length" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "tiny_chioce"], "knows no task 'tiny_chioce'; did you mean 'tiny_choice'"),
        (["--tasks", "gone"], "task 'gone' cannot be loaded: FileNotFoundError"),
        (["--tasks", "tiny_whole"], "measures only mcc, which no document has for itself"),
        (["--tasks", "tiny_say", "--max-length", "6"], "asks for answers of up to 6 tokens, and the model may see 6"),
        (["--tasks", "tiny", "--include-path", "nowhere"], "--include-path 'nowhere' is not a folder"),
    ],
)
def test_mistakes_are_said_in_one_line(
    arguments: list[str], said: str, tiny_folder: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks import TaskManager

    class Own(TaskManager):  # type: ignore[misc]
        """Without the harness's own tasks, whose list takes half a minute to read."""

        def __init__(self, include_path: str | None = None, include_defaults: bool = True) -> None:
            super().__init__(include_path=include_path, include_defaults=False)

    monkeypatch.setattr("lm_eval.tasks.TaskManager", Own)
    (files / "gone.yaml").write_text(HEAD.format(name="gone", data="/nowhere.jsonl") + BODIES["tiny_last"])
    result = call("harness", tiny_folder, "--include-path", files, *arguments, "-o", tmp_path / "runs")
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_documents_longer_than_the_window_are_said(make: Callable[..., list[Harness]]) -> None:
    said: list[str] = []
    (task,) = make("tiny_choice", max_length=12, say=said.append)
    assert (task.window, task.lengths) == (12, (12,))
    assert any("documents are longer than 12 tokens; their beginning is cut" in line for line in said)
    (whole,) = make("tiny_choice", max_length=200)
    assert whole.window == 0
    assert whole.identity() == make("tiny_choice")[0].identity()


def test_what_decides_a_number_is_in_the_identity(
    make: Callable[..., list[Harness]], files: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    (task,) = make("tiny_choice")
    others = [make("tiny_choice", **{name: value})[0] for name, value in (("shots", 1), ("seed", 3), ("max_length", 9))]
    data = (files / "data.jsonl").read_text()
    (tmp_path / "data.jsonl").write_text(data.replace("Paris", "Lyon"))
    text = (files / "tiny_choice.yaml").read_text()
    (tmp_path / "tiny_choice.yaml").write_text(text.replace(str(files), str(tmp_path)))
    source = Checkpoint(str(tiny_folder))
    others += harness_tasks(["tiny_choice"], source, include=str(tmp_path))
    (tmp_path / "data.jsonl").write_text(data)
    again = harness_tasks([str(tmp_path / "tiny_choice.yaml")], source)
    assert again[0].data == task.data
    (tmp_path / "worded.yaml").write_text(text.replace("{{question}}", "Q: {{question}}"))
    others += harness_tasks([str(tmp_path / "worded.yaml")], source)
    assert again[0].identity() == task.identity()
    identities = [json.dumps(one.identity(), sort_keys=True) for one in (task, *others)]
    assert len(set(identities)) == len(identities)


def test_metrics_whose_mean_is_not_their_number_are_left_out(make: Callable[..., list[Harness]]) -> None:
    def best_of(items: list[float]) -> float:
        return max(items)

    class Theirs:
        """A task whose metrics are gathered in several ways."""

        _filters = (type("Filter", (), {"name": "none"}),)
        config = None

        def aggregation(self) -> dict[str, Any]:
            return {"best": best_of, "mean": lambda items: sum(items) / len(items), "counted": self._without_absent}

        def higher_is_better(self) -> dict[str, bool]:
            return {"best": True, "mean": True, "counted": True}

        def _without_absent(self, items: list[float]) -> float:
            there = [one for one in items if one != -1]
            return sum(there) / len(there) if there else -1

    found, others = metrics_of(Theirs())
    assert [one.key for one in found] == ["mean,none"]
    assert others == ["best", "counted"]
