"""Effective length by each rule, by hand and by simulation."""

import numpy as np
import pandas as pd
import pytest

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import effective
from tests.report import examples

LENGTHS = (512, 1024, 2048, 4096)


def graded(shares: dict[int, float], trials: int = 100, depths: tuple[float, ...] = (0.0, 1.0)) -> pd.DataFrame:
    """Needle results with exactly these shares found at every depth."""
    rows = examples.niah(lengths=tuple(shares), depths=depths, trials=trials)
    return rows.assign(score=(rows["trial"] < rows["context_length"].map(shares) * trials).astype(float))


def rule(frame: pd.DataFrame, name: str) -> pd.Series:
    return examples.row(effective.effective_lengths(frame).set_index("rule"), name)


def test_each_rule_asks_its_own_question() -> None:
    frame = graded({512: 0.9, 1024: 0.9, 2048: 0.8, 4096: 0.7})
    assert rule(frame, "fixed")["length"] == 1024
    # 85 % of 0.9 is 0.765.
    assert rule(frame, "relative")["length"] == 2048
    assert rule(frame, "all depths")["length"] == 1024
    assert rule(frame, "fixed")["multiple"] == 0.5


def test_one_bad_depth_ends_all_depths_and_not_the_mean() -> None:
    frame = graded({512: 1.0, 1024: 1.0}, depths=tuple(np.linspace(0, 1, 10)))
    frame.loc[(frame["context_length"] == 1024) & (frame["depth"] == 0), "score"] = 0.0
    assert rule(frame, "fixed")["length"] == 1024
    assert rule(frame, "all depths")["length"] == 512


def test_the_first_no_ends_it_and_0_means_not_even_the_shortest() -> None:
    frame = graded({512: 1.0, 1024: 0.1, 2048: 1.0})
    assert rule(frame, "fixed")["length"] == 512
    assert rule(graded({512: 0.0, 1024: 0.0}), "relative")["length"] == 0


def test_a_length_without_results_shows_nothing_and_excludes_nothing() -> None:
    frame = graded({512: 1.0, 1024: 1.0})
    frame = examples.fail(frame, frame["context_length"] == 1024)
    row = rule(frame, "fixed")
    assert row[["length", "low", "high"]].tolist() == [512, 512, 1024]
    gap = graded({512: 1.0, 1024: 1.0})
    gap = gap[(gap["context_length"] == 512) | (gap["depth"] == 0)]
    assert rule(gap, "all depths")[["length", "high"]].tolist() == [512, 1024]


def test_intervals_hold_the_true_effective_length() -> None:
    """The intervals of single lengths are 95 %; what they enclose must be right at least as often."""
    rng = np.random.default_rng(5)
    truth = {512: 0.97, 1024: 0.92, 2048: 0.83, 4096: 0.70}
    right = {"fixed": 1024, "relative": 2048, "all depths": 1024}
    one = examples.niah(lengths=LENGTHS, depths=(0.0, 0.5), trials=60)
    many = pd.concat([one.assign(run=f"{k}", attention=f"{k}") for k in range(40)], ignore_index=True)
    chance = many["context_length"].map(truth).to_numpy()
    table = effective.effective_lengths(many.assign(score=(rng.random(len(many)) < chance).astype(float)))
    answer = table["rule"].map(right)
    inside = (table["low"] <= answer) & (answer <= table["high"])
    assert (inside.groupby(table["rule"]).mean() >= 0.95).all()
    # They are not right by being useless: repeats of the worst rule still end well before 8 times the range.
    assert (table["low"] > 0).groupby(table["rule"]).mean()["fixed"] > 0.5


def against_flat(rise: float, documents: int = 5) -> pd.Series:
    """The effective length by loss of an attention, beside softmax whose loss does not rise."""
    parts = [examples.loss(a, length=8192, rise=r, documents=documents) for a, r in (("softmax", 0.0), ("a", rise))]
    return examples.row(effective.effective_lengths(pd.concat(parts, ignore_index=True)).set_index("series"), "a")


def test_loss_stays_within_reach_of_the_baselines_and_is_paired_by_document() -> None:
    flat = against_flat(rise=0.0)
    assert flat[["rule", "length", "longest"]].tolist() == ["loss", 8192, 8192]
    steep = against_flat(rise=1.0)
    assert steep[["length", "low", "high"]].tolist() == [2048, 2048, 2048]
    alone = against_flat(rise=1.0, documents=1)
    assert alone["length"] == 2048
    assert np.isnan([alone["low"], alone["high"]]).all()


def test_headline_says_when_the_truth_may_lie_beyond() -> None:
    frame = pd.concat([graded({512: 1.0, 1024: 1.0}), graded({512: 0.0, 1024: 0.0}).assign(attention="lssa", run="b")])
    table = effective.headline(frame)["fixed"]
    assert table["softmax"] == "≥ 1,024 (0.5×) [≥ 1,024, ≥ 1,024]"
    assert table["lssa"] == "< 512 [< 512, < 512]"


def test_attention_alone_has_no_effective_length() -> None:
    with pytest.raises(NothingMeasured, match="a share of which more is better, or a loss in nats"):
        effective.effective_lengths(examples.key_attention(lengths=(64,)))
