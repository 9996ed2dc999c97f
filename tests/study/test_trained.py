"""Trainings are read from checkpoints and from records alike."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssmax_eval.errors import UserError
from study.trained import read_trained
from tests.study import examples


@pytest.mark.parametrize("family", ["ssmax-bias", "softmax", "per-n-512"])
def test_a_record_gives_the_same_as_the_checkpoint(family: str, tmp_path: Path) -> None:
    examples.checkpoint(tmp_path / "a", family, 1)
    examples.checkpoint(tmp_path / "b", family, 1, record=True)
    (a,), (b,) = read_trained(tmp_path / "a"), read_trained(tmp_path / "b")
    assert (a.name, a.family, a.seed, a.attention) == (b.name, b.family, b.seed, b.attention)
    assert a.record == b.record
    pd.testing.assert_frame_equal(a.curve, b.curve)
    assert a.learned.keys() == b.learned.keys()
    for name, values in a.learned.items():
        np.testing.assert_array_equal(values, b.learned[name])
    assert (a.free_factors() is None) == (family != "per-n-512")


def test_checkpoints_and_records_are_one_list(tmp_path: Path) -> None:
    examples.checkpoint(tmp_path, "ssmax", 0)
    examples.checkpoint(tmp_path, "ssmax", 1, record=True)
    examples.checkpoint(tmp_path, "ssmax", 2, finished=False, record=True)
    examples.checkpoint(tmp_path, "lssa", 0, record=True)
    assert [t.name for t in read_trained(tmp_path)] == ["lssa-seed0", "ssmax-seed0", "ssmax-seed1"]


def test_a_training_that_was_done_again_counts_once(tmp_path: Path) -> None:
    examples.checkpoint(tmp_path, "ssmax", 0, record=True)
    record = tmp_path / "records" / "ssmax-seed0.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps({**content, "training": {**content["training"], "threads": 7}}))
    assert [t.record["threads"] for t in read_trained(tmp_path)] == [7]
    examples.checkpoint(tmp_path, "ssmax", 0)
    assert [t.record["threads"] for t in read_trained(tmp_path)] == [1]


def test_a_record_may_describe_its_attention_with_parameters(tmp_path: Path) -> None:
    examples.checkpoint(tmp_path, "ssmax", 0, record=True)
    record = tmp_path / "records" / "ssmax-seed0.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "attention": "ssmax:s=table"}))
    assert [t.attention for t in read_trained(tmp_path)] == ["ssmax"]


@pytest.mark.parametrize("text", ["{", "[]", "null", "{}", '{"attention": "ssmax", "training": [], "curve": {}}'])
def test_a_record_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    examples.checkpoint(tmp_path, "ssmax", 0)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "ssmax-seed1.json").write_text(text)
    with pytest.raises(UserError, match=r"ssmax-seed1\.json' cannot be read"):
        read_trained(tmp_path)
