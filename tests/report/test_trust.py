"""Few clusters have no interval; series differ where identities do; softmax is the baseline."""

import json

import pandas as pd
import pytest

from ssmax_eval.report import statistics
from ssmax_eval.report.pairs import pairs
from ssmax_eval.report.series import labelled
from tests.report import examples


def test_fewer_than_five_clusters_have_no_interval() -> None:
    units = pd.DataFrame({"g": 1, "trial": [0, 1, 2, 3] * 5, "x": [0.0, 1.0] * 10})
    for table in (statistics.means, statistics.proportions):
        assert table(units, ["g"], "x", cluster=["trial"])[["low", "high"]].isna().all(axis=None)


def test_the_sign_test_is_mcnemars_for_pairs() -> None:
    assert statistics.sign_flip([1] * 9 + [-1] * 3) == pytest.approx(float(statistics.mcnemar(3, 9)))


def test_runs_that_differ_in_identity_are_two_series_named_by_it() -> None:
    parts = [examples.niah(lengths=(length,), run=f"{digits}") for length, digits in ((512, 4), (1024, 7))]
    frame = pd.concat([part.assign(run=name) for part, name in zip(parts, "ab", strict=True)], ignore_index=True)
    frame.attrs = {
        "quantities": examples.QUANTITIES,
        "identities": {run: json.dumps({"task": {"digits": digits}}) for run, digits in (("a", 4), ("b", 7))},
    }
    assert list(labelled(frame)["series"].cat.categories) == ["softmax · digits 4", "softmax · digits 7"]


def test_softmax_is_the_baseline_where_each_attention_has_its_own_checkpoint() -> None:
    names = {
        "lssar-seed0": "lssar:p=15",
        "softmax-seed0": "softmax",
        "softmax-long-seed0": "softmax",
        "ssmax-seed0": "ssmax",
    }
    frame = pd.concat([examples.niah(a, checkpoint=c, lengths=(64,)) for c, a in names.items()])
    assert {base for base, _ in pairs(frame)} == {"softmax-seed0 · softmax"}


def test_what_differs_in_one_task_does_not_part_attentions_in_another() -> None:
    digits = {"a": 4, "b": 7, "c": 4}
    asked = [(examples.niah("softmax"), "a"), (examples.niah("softmax"), "b"), (examples.niah("ssmax"), "c")]
    losses = [(examples.loss(length=64), "loss-a"), (examples.loss("ssmax", length=64), "loss-c")]
    frame = pd.concat([part.assign(run=name) for part, name in [*asked, *losses]], ignore_index=True)
    identities = {run: json.dumps({"task": {"digits": count}}) for run, count in digits.items()}
    same = dict.fromkeys(("loss-a", "loss-c"), json.dumps({"task": {"seed": 0}}))
    frame.attrs = {"quantities": examples.QUANTITIES, "identities": identities | same}
    series = labelled(frame).drop_duplicates("run").set_index("run")["series"]
    assert series[["loss-a", "loss-c"]].tolist() == ["softmax", "ssmax"]
    assert series[["a", "b", "c"]].tolist() == ["softmax · digits 4", "softmax · digits 7", "ssmax · digits 4"]
