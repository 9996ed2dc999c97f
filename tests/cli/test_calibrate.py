"""`ssmax-eval calibrate`, from a checkpoint to the sentence that says whether it helped."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

import ssmax_eval
from ssmax_eval.attention import SSMax
from ssmax_eval.cli.calibrated import said
from ssmax_eval.cli.main import main
from tests.documents import ROOT

CHECKPOINT = str(ROOT / "checkpoints" / "softmax-seed0")
"""Trained with softmax on novels, at 128 tokens."""


@pytest.fixture(scope="module")
def emma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six texts of two windows and more of 320 tokens, in the words that the checkpoint knows."""
    whole = (ROOT / "tests" / "data" / "emma.txt").read_text(encoding="utf-8")
    size, file = len(whole) // 6, tmp_path_factory.mktemp("emma") / "emma.jsonl"
    parts = [whole[i * size : (i + 1) * size].strip()[:2500] for i in range(6)]
    file.write_text("".join(json.dumps({"text": part}) + "\n" for part in parts), encoding="utf-8")
    return file


def calibrate(emma: Path, folder: Path, *options: str) -> Result:
    words = ["calibrate", CHECKPOINT, "--lengths", "128,320", "--text", str(emma), "--held-out", "6"]
    words += ["--documents", "1", "--lr", "0.1", "-o", str(folder / "ssmax.json"), "--runs", str(folder / "runs")]
    return CliRunner().invoke(main, [*words, *options])


def test_it_helps_where_the_checkpoint_was_not_trained(emma: Path, tmp_path: Path) -> None:
    dry = calibrate(emma, tmp_path, "--steps", "6", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "fitting: 6 documents" in dry.output
    assert list(tmp_path.iterdir()) == []
    done = calibrate(emma, tmp_path, "--steps", "6", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    near, far = result["bands"]
    assert (near["first"], near["last"], far["first"], far["last"]) == (1, 127, 128, 319)
    assert far["high"] < 0
    assert far["mean"] < -0.1
    assert abs(near["mean"]) < 0.05
    assert (far["n"], far["units"]) == (6, 6)
    assert result["helps"]
    assert "It helps at positions 128 to 319" in result["verdict"]
    attention = ssmax_eval.load(CHECKPOINT, result["attention"]).attention
    assert isinstance(attention, SSMax)
    written = json.loads((tmp_path / "ssmax.json").read_text())
    assert attention.s == tuple(map(tuple, written["s"]))
    assert written["made"]["asked"]["checkpoint"]["fingerprint"]
    assert len(written["made"]["losses"]) == 6
    again = calibrate(emma, tmp_path, "--steps", "6")
    assert again.exit_code == 0, again.output
    assert "Everything is in the store already." in again.output
    assert result["verdict"] in again.output
    assert "0 documents" in calibrate(emma, tmp_path, "--steps", "6", "--dry-run").output
    # What is in the store are ordinary runs: another command finds them there.
    options = ["--task", "loss", "--lengths", "320", "--documents", "6", "--text", str(emma), "-o"]
    for given in ("auto", result["attention"]):
        words = ["run", CHECKPOINT, "--attention", given, *options, str(tmp_path / "runs"), "--dry-run", "--json"]
        forecast = json.loads(CliRunner().invoke(main, words).stdout)["forecast"]
        assert [one["todo"] for one in forecast] == [0]
    frame = ssmax_eval.read_results(tmp_path / "runs")
    means = frame[frame.position >= 128].groupby("attention", observed=True)["nll"].mean()
    assert float(means["ssmax:s=table,b=table"] - means["softmax"]) == pytest.approx(far["mean"], abs=1e-6)


def test_no_step_is_inconclusive(emma: Path, tmp_path: Path) -> None:
    done = calibrate(emma, tmp_path, "--steps", "0", "--per", "model")
    assert done.exit_code == 0, done.output
    assert "Inconclusive at positions 128 to 319: +0.0000 nats per token" in done.output
    assert "nothing here shows that it helps" in done.output
    table = json.loads((tmp_path / "ssmax.json").read_text())
    assert (table["s"], table["b"]) == (0.0, 1.0)


def band(first: int, mean: float, low: float, high: float) -> dict[str, Any]:
    return {"first": first, "last": first + 9, "mean": mean, "low": low, "high": high, "units": 5}


@pytest.mark.parametrize(
    ("far", "helps", "says"),
    [
        ((-0.2, -0.3, -0.1), True, "It helps at positions 11 to 20: the loss is 0.2000 nats per token lower"),
        ((0.2, 0.1, 0.3), False, "It does not help at positions 11 to 20: the loss is 0.2000 nats per token higher"),
        ((-0.2, -0.5, 0.1), False, "Inconclusive at positions 11 to 20: -0.2000"),
        ((-0.2, float("nan"), float("nan")), False, "5 would"),
    ],
)
def test_it_claims_what_the_interval_shows(far: tuple[float, float, float], helps: bool, says: str) -> None:
    found = said(pd.DataFrame([band(1, 0.01, 0.005, 0.02), band(11, *far)]))
    assert found.helps == helps
    assert says in found.verdict
    assert "At positions 1 to 10 it costs +0.0100" in found.verdict


def test_a_mistake_is_one_line(emma: Path, tmp_path: Path) -> None:
    for options, line in (
        (["--closed-form", "entropy", "--reference", "400"], "needs --lengths beyond the 400 tokens"),
        (["--fit", "a"], "unknown parameter to fit: 'a'"),
        (["--held-out", "500"], "none is left to fit on"),
    ):
        refused = calibrate(emma, tmp_path, *options)
        assert refused.exit_code == 2
        assert refused.stderr.startswith("Error: ")
        assert line in refused.stderr.splitlines()[0]
