"""A run in which every needle cell has failed: it is said, and what else was measured is summed up and reported."""

import json
from pathlib import Path

import pytest

from ssmax_eval.report import writing
from tests.cli.typed import answer, call

GRID = ["--lengths", "200", "--depths", "0,1", "--trials", "1", "--documents", "2"]


@pytest.fixture(scope="module")
def command(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that has measured a store of needles and losses under two attentions, and no needle successfully."""
    root = tmp_path_factory.mktemp("failed") / "runs"
    wanted = ["--task", "niah,loss", "--attention", "softmax", "--attention", "ssmax:s=0.3"]
    command = ["run", str(tiny_folder), *wanted, *GRID, "-o", str(root)]
    call(*command)
    for cells in root.glob("*_niah_*/cells.jsonl"):
        there = [json.loads(line)["cell"] for line in cells.read_text().splitlines()]
        failed = [{"cell": cell, "seconds": 1.0, "error": "out of memory"} for cell in there]
        cells.write_text("".join(json.dumps(one) + "\n" for one in failed))
    return command


def test_the_summary_has_the_losses(command: list[str]) -> None:
    result = call(*command)
    assert result.exit_code == 0, result.output
    assert "Loss over the first tokens" in result.stdout
    there = answer(*command)
    assert sorted((run["task"], run["failed"]) for run in there["runs"]) == [
        ("loss", 0), ("loss", 0), ("niah", 2), ("niah", 2),
    ]  # fmt: skip
    assert {row["quantity"] for row in there["results"] if row["mean"] is not None} == {
        row["quantity"] for row in there["results"] if "loss" in row["quantity"].lower()
    }


def test_a_report_counts_the_failures(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "render", lambda figure, kind: b"<svg/>")  # drawing them takes longest
    result = call("report", command[-1], "-o", tmp_path)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Failures" in text
    assert "out of memory" in text
    assert "## Loss" in text


def test_losses_are_compared(command: list[str]) -> None:
    result = call("compare", command[-1], "--baseline", "softmax")
    assert result.exit_code == 0, result.output
    assert "loss" in result.stdout.lower()


def test_needles_alone_are_said_not_to_be_comparable(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "render", lambda figure, kind: b"<svg/>")
    needles = [str(path) for path in Path(command[-1]).glob("*_niah_*")]
    report = call("report", *needles, "-o", tmp_path)
    assert report.exit_code == 0, report.output
    assert "out of memory" in (tmp_path / "report.md").read_text(encoding="utf-8")
    compared = call("compare", *needles, "--baseline", "softmax")
    assert compared.exit_code == 0, compared.output
    assert "share no trial, so they cannot be compared. Left out: 2 trials that failed" in compared.stdout
