"""The shipped checkpoints show what was measured on them (results/README.md), on the opening of a novel held out."""

import json
from pathlib import Path

import pytest

from ssmax_eval.attention import parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.model import running
from ssmax_eval.report.statistics import wilson
from ssmax_eval.store import read_runs
from ssmax_eval.tasks import Task, load, overridden

ROOT = Path(__file__).parents[2]
TRAIN_LENGTH = 128


def task(name: str, **changes: object) -> Task:
    return overridden(load(name), {"texts": [str(ROOT / "tests/data/emma.txt")], **changes})


def found(name: str, context_length: int) -> tuple[int, int]:
    """Needles found, and needles: one at each of eleven depths, RoPE's base raised by 50 as in the SSMax paper."""
    checkpoint = Checkpoint(str(ROOT / "checkpoints" / name), rope_theta_scale=50.0)
    niah = task("niah_reference", lengths=[context_length], trials=1)
    with running(checkpoint, checkpoint.load(), parse("auto").resolve(checkpoint.shape)) as model:
        scores = [m.values["score"] for batch in niah.batches(niah.cells(), 1) for m in niah.bind(model)(batch)]
    return sum(score == 1.0 for score in scores), len(scores)


@pytest.mark.parametrize("name", ["softmax-seed0", "ssmax-seed0", "lssar-seed0"])
def test_the_committed_runs_are_of_the_committed_checkpoints(name: str) -> None:
    runs = [run for run in read_runs(ROOT / "results/reference").values() if run["columns"]["checkpoint"] == name]
    fingerprints = {run["identity"]["checkpoint"]["fingerprint"] for run in runs}
    assert fingerprints == {Checkpoint(str(ROOT / "checkpoints" / name)).fingerprint}


def test_the_checkpoints_share_one_tokenizer() -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shared = ROOT / "checkpoints/tokenizer" / name
        others = list((ROOT / "checkpoints").glob(f"*-seed0/{name}"))
        assert len(others) == 3
        assert all(path.is_symlink() and path.resolve() == shared for path in others)


@pytest.mark.parametrize("path", sorted((ROOT / "checkpoints/records").glob("*.json")), ids=lambda path: path.stem)
def test_a_record_holds_a_finished_training(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["name"] == path.stem
    assert record["training"]["finished"]
    assert record["training"]["attention"].startswith(record["attention"])
    steps, losses = record["curve"]["step"], record["curve"]["loss"]
    assert steps == sorted(steps)
    assert steps[-1] == record["training"]["step"]
    assert losses[-1] < losses[0]
    assert {len(column) for column in record["curve"].values()} == {len(steps)}


@pytest.mark.parametrize("name", ["softmax-seed0", "ssmax-seed0"])
def test_both_find_needles_at_the_training_length(name: str) -> None:
    hits, trials = found(name, TRAIN_LENGTH)
    assert hits >= trials - 1


def test_ssmax_finds_needles_at_sixteen_times_the_training_length_where_softmax_does_not() -> None:
    softmax, ssmax = (wilson(*found(name, 16 * TRAIN_LENGTH)) for name in ("softmax-seed0", "ssmax-seed0"))
    assert softmax[1] < ssmax[0]
