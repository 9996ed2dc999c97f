"""What is tried, what is dropped, and what a user may get wrong."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ssmax_eval.cli.main import main
from ssmax_eval.extend.budget import duration_of
from ssmax_eval.extend.candidates import Candidate, candidates, own
from ssmax_eval.extend.halving import halve
from ssmax_eval.extend.rungs import LOSS, Asked, plan_of
from ssmax_eval.extend.values import values
from tests.documents import ROOT
from tests.extend.conftest import HELPS, SOFTMAX, TRIED, Done, extension, with_copy

CHECKPOINT = str(ROOT / "checkpoints" / "softmax-seed0")


def test_far_distances_stay_within_the_training_length() -> None:
    found = {one.name: one for one in candidates(SOFTMAX, 1024)}
    assert next(iter(found)) == "plain"
    assert {"logn", "rerope:window=64", "dca", "lm_infinite:window=128", "yarn:factor=8"} <= set(found)
    assert "leaky_rerope:window=64,k=15" in found
    assert 64 + (1024 - 64) / 15 <= 128
    assert found["base x9.19"].rope_theta_scale == pytest.approx(8 ** (32 / 30), rel=1e-3)


def test_a_candidate_of_ones_own() -> None:
    text = "rope=yarn:factor=4,attention=ssmax:s=0.2,b=1,position=self_extend:window=64,group=4"
    one = own(text, SOFTMAX)
    assert one == Candidate(position="self_extend:window=64,group=4", attention="ssmax:s=0.2,b=1", rope="yarn:factor=4")
    assert one.on(SOFTMAX).rope == "yarn:factor=4"
    assert one.options()[:4] == ["--attention", "ssmax:s=0.2,b=1", "--position", "self_extend:window=64,group=4"]


def test_the_better_half_stays_with_all_that_tie(done: Done) -> None:
    one = extension(done.folder)
    rung = one.asked.rungs()[0]
    plans = {c.name: plan_of(c, SOFTMAX, rung.tasks, one.output, lambda _: None) for c in TRIED}
    found = values(plans, one.asked)
    found = with_copy(with_copy(found, HELPS.name, "same", 0.0), HELPS.name, "worse", 0.1)
    kept, dropped = halve(found.far, [HELPS.name, "same", "worse"], 1, LOSS)
    assert set(kept) == {HELPS.name, "same"}
    assert list(dropped) == ["worse"]
    assert dropped["worse"].startswith("loss at the far end +0.1 against ")


def test_the_far_end_and_the_lengths_of_needles() -> None:
    assert (Asked(to=1024, trained=128).far, Asked(to=150, trained=128).far) == (768, 128)
    assert Asked(to=1000, trained=128).lengths == (128, 256, 512, 1000)


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("45min", 2700), ("1.5 h", 5400), ("90", 90)])
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert duration_of(text) == seconds


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "128"], "--to must be beyond the training length of 128 tokens; given 128"),
        (["--to", "256,512"], "one length is asked for"),
        (["--to", "256", "--only-candidates"], "needs a --candidate"),
        (["--to", "256", "--candidate", "rerope"], "a candidate is position="),
        (["--to", "256", "--candidate", "position=rerop"], "did you mean 'rerope'?"),
        (["--to", "256", "--candidate", "attention=none"], "changes nothing"),
        (["--to", "256", "--candidate", "rope=yarn"], "needs a factor"),
        (["--to", "256", "--budget", "soon"], "a budget is a time such as 45min or 2h"),
        (["--to", "256", "--calibrate", "closed"], "did you mean 'closed-form'?"),
        (["--to", "256", "--needles", "loss"], "unknown task with needles"),
        (["--to", "256", "--documents", "4"], "documents must be 9 or more"),
        (["--to", "256", "--text", "nowhere.txt", "--dry-run"], "nowhere.txt"),
    ],
)
def test_a_mistake_is_one_line(options: list[str], says: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["extend", CHECKPOINT, *options, "-o", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert says in done.output
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_lists_candidates_and_rungs(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main, ["extend", CHECKPOINT, "--to", "256", "--dry-run", "--budget", "1s", "-o", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "  rerope:window=64\n" in done.output
    assert "finalists   3 candidates and plain" in done.output
    assert list(tmp_path.iterdir()) == []
