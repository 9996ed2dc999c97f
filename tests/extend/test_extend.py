"""The whole answer, small: what helps is found, what does not is not, and a killed evaluation goes on."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.extend import extend as room
from ssmax_eval.extend.candidates import PLAIN, Candidate
from ssmax_eval.extend.forecast import forecast
from ssmax_eval.extend.page import commands, converted, write_page
from ssmax_eval.extend.table import rows
from ssmax_eval.run.plan import execute
from tests.documents import ROOT, parse
from tests.extend.conftest import SOFTMAX, TRIED, extension, stored


def test_what_helps_is_recommended_with_a_page_and_commands(done: Path) -> None:
    before = stored(done)
    outcome = extension(done).run(TRIED)
    assert stored(done) == before  # nothing is measured twice
    best = outcome.candidates[outcome.verdict.name or PLAIN]
    assert (best.position, best.attention) in (("rerope:window=64", "auto"), ("rerope:window=64", "logn"))
    finding = next(one for one in outcome.verdict.findings if one.name == best.name)
    assert finding.far.high < 0 or finding.needles.low > 0
    assert finding.needles.after > finding.needles.before
    assert (finding.far.n, finding.needles.n) == (5, 25)  # what chose nothing: 9 - 4 documents, 8 - 3 trials of 5
    assert f"{finding.far.mean:+.3f}" in outcome.verdict.sentence
    found = rows(outcome)
    assert [row.name for row in found if row.finalist][0] == PLAIN
    assert {row.name for row in found} == set(outcome.candidates)
    typed = commands(outcome, SOFTMAX, "runs", done)
    assert typed is not None
    parse(typed.run)
    parse(typed.convert)
    assert "carries" in converted(outcome, SOFTMAX, done / "page")
    assert "is there already" in converted(outcome, SOFTMAX, done / "page")
    page, image = write_page(outcome, found, [typed.convert], done / "page")
    assert outcome.verdict.sentence in page.read_text()
    assert image.read_bytes()[1:4] == b"PNG"


def test_a_killed_evaluation_goes_on_to_the_same_cells(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(done / "runs", tmp_path / "runs")
    kept = sorted((tmp_path / "runs").iterdir())[::2]
    for folder in (tmp_path / "runs").iterdir():
        cells = folder / "cells.jsonl"
        if folder not in kept:
            shutil.rmtree(folder)
        else:  # the last line is torn, as a kill leaves it
            text = cells.read_text()
            cells.write_text(text[: len(text) - len(text.splitlines()[-1]) // 2])
    measured: list[str] = []

    def watched(plan: Any, **options: Any) -> None:
        measured.extend(run.name for run, cells in plan.todo.items() if cells)
        execute(plan, **options)

    monkeypatch.setattr(room, "execute", watched)
    outcome = extension(tmp_path).run(TRIED)
    assert measured
    assert stored(tmp_path) == stored(done)
    assert outcome.verdict == extension(done).run(TRIED).verdict


def test_nothing_is_recommended_where_nothing_helps(done: Path) -> None:
    outcome = extension(done).run((Candidate(), Candidate(position="nope")))
    assert outcome.verdict.name is None
    assert "nothing is recommended: no interval says" in outcome.verdict.sentence
    assert commands(outcome, SOFTMAX, "runs", done) is None


def test_a_budget_ends_before_the_rung_that_it_does_not_reach(tmp_path: Path) -> None:
    first = forecast(extension(tmp_path), TRIED)[0]
    assert (first.rung, first.candidates, first.cells) == ("loss", 2, 2)
    with pytest.raises(UserError, match="does not reach the first rung"):
        extension(tmp_path, budget=first.seconds / 2).run(TRIED)
    assert stored(tmp_path) == []
    for _ in range(2):  # the same after a restart
        outcome = extension(tmp_path, budget=1.5 * first.seconds).run(TRIED)
        assert [step.rung.title for step in outcome.steps] == ["loss"]
        assert "ends before the rung 'needles'" in outcome.verdict.sentence
        assert outcome.verdict.name is None
        assert {row.name for row in rows(outcome)} == {one.name for one in TRIED}
    assert len(stored(tmp_path)) == 6


def test_what_cannot_run_is_left_out_and_said(tmp_path: Path, done: Path) -> None:
    tried = (*TRIED[:2], Candidate(rope="dynamic:factor=2"), Candidate(position="rerope:window=64", attention="lssar"))
    outcome = extension(done).run(tried)
    told = {**outcome.left_out, **outcome.steps[0].dropped}
    assert "depends on the length of the whole text" in told["dynamic:factor=2"]
    assert outcome.verdict.name is not None


@pytest.mark.slow
def test_the_whole_command_killed_and_started_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ssmax_eval", "extend", str(ROOT / "checkpoints" / "softmax-seed0"), "--to", "512"]
    command += ["-o", str(tmp_path / "runs"), "--page", str(tmp_path / "page"), "--quiet"]
    killed = subprocess.Popen(command, stdout=subprocess.PIPE)
    while len(stored(tmp_path)) < 30:
        time.sleep(0.05)
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = stored(tmp_path)
    assert "is recommended" in said
    assert (tmp_path / "page" / "extend.png").exists()
    assert list((tmp_path / "page").glob("ssmax-*.json"))
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert again.splitlines()[:12] == said.splitlines()[:12]
    assert stored(tmp_path) == lines
