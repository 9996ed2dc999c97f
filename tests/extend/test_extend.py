"""The whole answer, small: what helps is found, what does not is not, and a killed evaluation goes on."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.extend.candidates import PLAIN, Candidate
from ssmax_eval.extend.forecast import forecast
from ssmax_eval.extend.page import commands, converted, write_page
from ssmax_eval.extend.rungs import plan_of
from ssmax_eval.extend.table import rows
from ssmax_eval.extend.values import values
from ssmax_eval.extend.verdict import verdict
from ssmax_eval.run import estimate
from tests.documents import ROOT, parse
from tests.extend.conftest import HELPS, SOFTMAX, TRIED, Done, extension, stored, with_copy


def test_what_helps_is_recommended_with_a_page_and_commands(done: Done) -> None:
    folder, outcome = done
    best = outcome.candidates[outcome.verdict.name or PLAIN]
    assert best == HELPS
    finding = next(one for one in outcome.verdict.findings if one.name == best.name)
    assert finding.far.high < 0 or finding.needles.low > 0
    assert finding.needles.after > finding.needles.before
    assert (finding.far.n, finding.needles.n) == (5, 25)  # what chose nothing: 9 - 4 documents, 8 - 3 trials of 5
    assert f"{finding.far.mean:+.3f}" in outcome.verdict.sentence
    found = rows(outcome)
    assert next(row.name for row in found if row.finalist) == PLAIN
    assert {row.name for row in found} == set(outcome.candidates)
    typed = commands(outcome, SOFTMAX, "runs", folder)
    assert typed is not None
    parse(typed.run)
    parse(typed.convert)
    assert "carries" in converted(outcome, SOFTMAX, folder / "page")
    assert "is there already" in converted(outcome, SOFTMAX, folder / "page")
    page, image = write_page(outcome, found, [typed.convert], folder / "page")
    assert outcome.verdict.sentence in page.read_text()
    assert image.read_bytes()[1:4] == b"PNG"


def test_nothing_is_recommended_where_nothing_helps(done: Done) -> None:
    one = extension(done.folder)
    plans = {c.name: plan_of(c, SOFTMAX, one.asked.rungs()[-1].tasks, one.output, lambda _: None) for c in TRIED}
    found = values({PLAIN: plans[PLAIN]}, one.asked)
    worse = verdict(with_copy(found, PLAIN, "worse", 0.1), ["worse"], "it")
    assert worse.name is None
    assert "nothing is recommended: no interval says" in worse.sentence
    assert verdict(with_copy(found, PLAIN, "better", -0.1), ["better"], "it").name == "better"


def test_a_budget_ends_before_the_rung_that_it_does_not_reach_and_a_kill_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "_rate", lambda *_: 1e13)  # so the first rung takes longer than it is taken to
    tried = (*TRIED, Candidate(position="nope"), Candidate(rope="dynamic:factor=2"), Candidate(attention="lssa:p=9999"))
    first = forecast(extension(tmp_path), tried)[0]
    assert (first.rung, first.candidates, first.cells) == ("loss", 4, 2)
    with pytest.raises(UserError, match="does not reach the first rung"):
        extension(tmp_path, budget=first.seconds / 2).run(tried)
    assert stored(tmp_path) == []
    outcome = extension(tmp_path, budget=1.5 * first.seconds).run(tried)
    assert [step.rung.title for step in outcome.steps] == ["loss"]
    assert "ends before the rung 'needles'" in outcome.verdict.sentence
    assert outcome.verdict.name is None
    told = {**outcome.left_out, **outcome.steps[0].dropped}
    assert "depends on the length of the whole text" in told["dynamic:factor=2"]
    before = stored(tmp_path)
    killed, torn, *_ = (folder for folder in sorted((tmp_path / "runs").iterdir()) if "position" in folder.name)
    shutil.rmtree(killed)
    cells = (torn / "cells.jsonl").read_bytes()
    (torn / "cells.jsonl").write_bytes(cells[: len(cells) - 300])  # as a kill leaves it
    again = extension(tmp_path, budget=1.5 * first.seconds).run(tried)
    assert stored(tmp_path) == before
    assert (again.steps[0].kept, again.steps[0].dropped) == (outcome.steps[0].kept, outcome.steps[0].dropped)


@pytest.mark.slow
def test_the_whole_command_killed_and_started_again(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ssmax_eval", "extend", str(ROOT / "checkpoints" / "softmax-seed0"), "--to", "512"]
    command += ["-o", str(tmp_path / "runs"), "--page", str(tmp_path / "page"), "--quiet"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
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
