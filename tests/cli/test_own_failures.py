"""What the code of a user's own raises is one line with its file and line; the cells so far are kept."""

from pathlib import Path

import pytest

from tests.cli.typed import call, stored_lines
from tests.run.own import write_task

ATTENTION = """
from dataclasses import dataclass

from ssmax_eval.attention import Attention


@dataclass(frozen=True)
class Mine(Attention):
    def weights(self, rows):
        return rows.nothing
"""


def line_of(path: Path, text: str) -> int:
    return path.read_text().splitlines().index(next(one for one in path.read_text().splitlines() if text in one)) + 1


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("    def cells(self):", "    def __post_init__(self):\n        raise ValueError('mine')  # here\n\n{}", 0),
        ("        return [Cell.of(", "        raise ValueError('mine')  # here\n{}", 0),
        ("        if not model.tokenizer:", "        raise ValueError('mine')  # here\n{}", 0),
        ("                half = drawn(", "                if gap: raise ValueError('mine')  # here\n{}", 1),
        ("                half = drawn(", "                if gap: open('/nowhere/such')  # here\n{}", 1),
    ],
    ids=["__post_init__", "cells", "bind", "measure", "a file"],
)
def test_a_task_that_raises(old: str, new: str, kept: int, tiny_folder: Path, tmp_path: Path) -> None:
    path = write_task(tmp_path / "mine")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new.format(old)))
    wanted = ["--task", f"{path}:CopyingText", "--lengths", "32", "--attention", "softmax"]
    result = call("run", tiny_folder, *wanted, "-o", tmp_path / "runs")
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    said = "FileNotFoundError: " if "open" in new else "ValueError: mine"
    assert last.startswith(f"Error: your own code fails: {path}, line {line_of(path, '# here')}: {said}")
    assert len(stored_lines(tmp_path / "runs")) == kept


def test_its_cells_are_kept_and_not_measured_again(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_task(tmp_path / "mine")
    raising = "                if gap and __import__('os').environ.get('RAISES'): raise ValueError\n"
    half = "                half = drawn("
    path.write_text(path.read_text().replace(half, raising + half))
    monkeypatch.setenv("RAISES", "1")
    wanted = ["--task", f"{path}:CopyingText", "--lengths", "32", "--attention", "softmax", "-o", tmp_path / "runs"]
    assert call("run", tiny_folder, *wanted).exit_code == 2
    (first,) = stored_lines(tmp_path / "runs")
    monkeypatch.delenv("RAISES")
    assert call("run", tiny_folder, *wanted).exit_code == 0
    lines = stored_lines(tmp_path / "runs")
    assert lines[0] == first
    assert len(lines) == 4
    assert not any('"error"' in line for line in lines)


def test_an_attention_that_raises(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(ATTENTION)
    at = line_of(path, "rows.nothing")
    for command in (["run", tiny_folder, "--task", "loss", "--lengths", "32", "-o", tmp_path / "runs"],
                    ["check", tiny_folder]):  # fmt: skip
        result = call(*command, "--attention", f"{path}:Mine")
        assert result.exit_code == 2, result.output
        assert f"{path}, line {at}: AttributeError: " in result.output
    assert stored_lines(tmp_path / "runs") == []


def test_a_bug_of_ours_keeps_its_traceback(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssmax_eval.run.measure.missing", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("ssmax_eval.run.plan.missing", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("run", tiny_folder, "--task", "loss", "--lengths", "32", "-o", tmp_path / "runs")
