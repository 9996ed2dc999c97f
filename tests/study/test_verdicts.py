"""A difference, its interval, and the verdict on a range."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssmax_eval.report import statistics
from study.verdicts import ABSENT, FAILS, HOLDS, OPEN, Difference, Range, difference, divided


def values(table: dict[int, list[float]]) -> pd.Series:
    """A series by seed and document."""
    return pd.concat({seed: pd.Series(x) for seed, x in table.items()}, names=["seed", "document"])


def found(low: float, high: float) -> Difference:
    return Difference(0.0, 0.0, low, high, "seeds", 3, 4)


@pytest.mark.parametrize(
    ("wanted", "low", "high", "verdict"),
    [
        (Range(high=0.0), -0.2, -0.1, HOLDS),
        (Range(high=0.0), -0.2, 0.1, OPEN),
        (Range(high=0.0), 0.1, 0.2, FAILS),
        (Range(low=0.0), 0.1, 0.2, HOLDS),
        (Range(low=0.0), -0.2, -0.1, FAILS),
        (Range(low=0.0), 0.0, 0.0, FAILS),
        (Range(low=0.0), 0.0, 0.2, OPEN),
        (Range(-0.05, 0.05), -0.04, 0.04, HOLDS),
        (Range(-0.05, 0.05), -0.04, 0.06, OPEN),
        (Range(-0.05, 0.05), -0.4, -0.1, FAILS),
        (Range(high=0.2), 0.0, 0.1, HOLDS),
        (Range(high=0.2), float("nan"), float("nan"), OPEN),
    ],
)
def test_a_verdict_is_where_the_interval_lies(wanted: Range, low: float, high: float, verdict: str) -> None:
    assert wanted.verdict(found(low, high)) == verdict


@pytest.mark.parametrize(
    ("than", "this", "verdict"),
    [
        ((0.1, 0.4), (0.6, 0.9), HOLDS),
        ((0.1, 0.4), (0.4, 0.9), OPEN),
        ((0.3, 0.6), (0.7, 0.9), OPEN),
        ((0.5, 0.8), (0.9, 1.0), FAILS),
        ((0.0, 0.1), (0.2, 0.5), FAILS),
        ((float("nan"), float("nan")), (0.6, 0.9), OPEN),
    ],
)
def test_one_finds_and_the_other_fails(than: tuple[float, float], this: tuple[float, float], verdict: str) -> None:
    """A difference above 0 is not enough: 79 % and 89 % are no failure and success."""
    assert divided(replace(found(0.1, 0.2), this_limits=this, than_limits=than), 0.5) == verdict
    assert divided(None, 0.5) == ABSENT


def test_each_side_of_a_share_has_limits_of_its_own() -> None:
    this, than = {s: [1.0] * 20 for s in range(5)}, {s: [0.0] * 15 + [1.0] * (1 + s) for s in range(5)}
    result = difference(values(this), values(than), "trials", shares=True)
    assert result is not None
    assert result.this_limits[0] < result.this_limits[1] == 1.0
    assert 0 < result.than_limits[0] < result.than < result.than_limits[1] < 0.6
    four = difference(values({0: [1.0] * 4}), values({0: [0.0] * 4}), "trials", shares=True)
    assert four is not None
    assert np.isnan(four.this_limits).all()
    losses = difference(values(this), values(than), "documents")
    assert losses is not None
    assert np.isnan(losses.than_limits).all()


def test_what_was_not_measured_has_no_verdict() -> None:
    assert difference(values({0: [1.0]}), pd.Series(dtype="float64"), "documents") is None
    assert difference(values({0: [1.0]}), values({1: [1.0]}), "documents") is None
    assert Range(high=0.0).verdict(None) == ABSENT


def test_five_seeds_have_an_interval_over_seeds() -> None:
    this, than = {s: [3.0 + s, 3.1 + s] for s in range(5)}, {s: [4.0 + 2 * s, 4.1 + 2 * s] for s in range(5)}
    result = difference(values(this), values(than), "documents")
    assert result is not None
    assert (result.over, result.seeds, result.units) == ("seeds", 5, 2)
    low, high = stats.t.interval(0.95, 4, -3.0, 0.5**0.5)
    assert (result.mean, result.low, result.high) == pytest.approx((-3.0, float(low), float(high)))


def test_four_seeds_have_none_however_many_documents_there_are() -> None:
    this, than = {s: [3.0] * 40 for s in range(4)}, {s: [4.0 + s / 10] * 40 for s in range(4)}
    result = difference(values(this), values(than), "documents")
    assert result is not None
    assert (result.over, result.seeds) == ("seeds", 4)
    assert np.isnan([result.low, result.high]).all()
    assert Range(high=0.0).verdict(result) == OPEN


def test_the_wider_interval_decides() -> None:
    """Documents that disagree are not hidden by seeds that agree."""
    change = [-1.0, 0.5, -2.0, 1.5, 0.25]
    this = {s: [3.0 + c for c in change] for s in range(5)}
    result = difference(values(this), values({s: [3.0] * 5 for s in range(5)}), "documents")
    assert result is not None
    assert result.over == "documents"
    assert (result.low, result.high) == pytest.approx(statistics.paired_means(change)[:2])


def test_windows_of_two_texts_leave_the_seeds_to_decide() -> None:
    """Five seeds on two texts: an interval over seeds, and the number of texts beside it."""
    index = pd.MultiIndex.from_product(
        [range(5), ["emma", "persuasion"], range(8)], names=["seed", "source", "document"]
    )
    than = pd.Series(3.0, index)
    this = than + 0.1 * index.get_level_values("seed").to_numpy()
    result = difference(this, than, "documents")
    assert result is not None
    assert (result.over, result.seeds, result.units, result.texts) == ("seeds", 5, 16, 2)
    low, high = stats.t.interval(0.95, 4, 0.2, 0.005**0.5)
    assert (result.low, result.high) == pytest.approx((float(low), float(high)))
    alone = difference(this.loc[[1]], than.loc[[1]], "documents")
    assert alone is not None
    assert (alone.over, alone.texts) == ("texts", 2)
    assert np.isnan(alone.low)


def test_only_what_both_have_counts() -> None:
    this, than = values({0: [1.0, 2.0, 3.0], 1: [9.0, 9.0]}), values({0: [0.0, 0.0]})
    result = difference(this, than, "documents")
    assert result is not None
    assert (result.this, result.than, result.seeds, result.units) == (1.5, 0.0, 1, 2)


def test_shares_that_never_differ_keep_an_interval() -> None:
    same = values({0: [1.0] * 20})
    result = difference(same, same, "trials", shares=True)
    assert result is not None
    assert result.low < 0 < result.high
    assert (result.low, result.high) == pytest.approx([float(x) for x in statistics.paired_proportions(0, 0, 20)])


def test_one_unit_of_one_seed_has_no_interval() -> None:
    result = difference(values({0: [1.0]}), values({0: [2.0]}), "documents")
    assert result is not None
    assert np.isnan(result.low)


@pytest.mark.parametrize(
    ("wanted", "percent", "text"),
    [
        (Range(high=0.0), False, "below 0"),
        (Range(low=0.2), False, "above +0.20"),
        (Range(-0.1, 0.1), True, "between −10 points and +10 points"),
    ],
)
def test_a_range_in_words(wanted: Range, percent: bool, text: str) -> None:
    assert wanted.text(percent) == text


def test_shares_differ_by_no_more_than_all_of_them() -> None:
    this, than = {s: [1.0] * 20 for s in range(5)}, {**{s: [0.0] * 20 for s in range(4)}, 4: [0.0, 1.0] * 10}
    result = difference(values(this), values(than), "trials", shares=True)
    assert result is not None
    assert (result.over, result.high) == ("seeds", 1.0)
