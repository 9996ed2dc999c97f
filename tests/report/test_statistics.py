"""Intervals agree with scipy, and cover the truth as often as they claim."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssmax_eval.report import statistics


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 20), (3, 20), (19, 20), (20, 20), (50, 100)])
def test_wilson_is_scipys(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    low, high = statistics.wilson(successes, trials)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_without_trials_is_nan() -> None:
    low, high = statistics.wilson([0, 1], [0, 2])
    assert np.isnan([low[0], high[0]]).all()
    assert not np.isnan([low[1], high[1]]).any()


def test_wilson_covers_95_percent_on_average_at_20_trials() -> None:
    """Coverage is exact arithmetic, not simulation: it swings with p, and averages to 95 %."""
    k = np.arange(21)
    low, high = statistics.wilson(k, 20)
    truth = np.linspace(0.02, 0.98, 193)
    covered = (low <= truth[:, None]) & (truth[:, None] <= high)
    coverage = (stats.binom.pmf(k, 20, truth[:, None]) * covered).sum(axis=1)
    assert 0.94 < coverage.mean() < 0.96
    # No interval of fixed endpoints per count does better everywhere: the swings are the binomial's.
    assert coverage.min() > 0.83
    assert np.mean((coverage > 0.93) & (coverage < 0.97)) > 0.6


def test_means_is_scipys_t_interval_per_group() -> None:
    rng = np.random.default_rng(0)
    units = pd.DataFrame({"group": ["a"] * 5 + ["b"] * 9, "x": rng.normal(3, 2, 14)})
    table = statistics.means(units, ["group"], "x").set_index("group")
    for name, values in units.groupby("group")["x"]:
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        row = table.loc[str(name)]
        assert row["n"] == len(values)
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((values.mean(), *expected), abs=1e-12)


def test_one_value_has_no_interval_and_float32_is_summed_in_float64() -> None:
    units = pd.DataFrame({"g": [1, 2, 2], "x": np.array([1.0, 2**24, 1.0], np.float32)})
    table = statistics.means(units, ["g"], "x").set_index("g")
    assert table[["low", "high"]].isna().all(axis=None)
    assert table.loc[2, "mean"] == (2**24 + 1) / 2


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize("last", [1, 7, 20_000])
def test_bins_hold_every_position_once(scale: statistics.Scale, last: int) -> None:
    edges = statistics.bin_edges(last, 64, scale)
    assert edges[0] == 1
    assert edges[-1] == last + 1
    assert len(edges) <= 65
    assert (np.diff(edges) >= 1).all()
    middles = statistics.in_bins(pd.Series(np.arange(1, last + 1)), edges, scale)
    assert (np.diff(middles) >= 0).all()
    assert len(np.unique(middles)) == len(edges) - 1


def test_limits_stay_within_what_is_possible() -> None:
    units = pd.DataFrame({"g": 1, "x": [0.0, 1.0, 0.0, 1.0, 0.5]})
    free = statistics.means(units, ["g"], "x").iloc[0]
    assert free["low"] < 0
    assert free["high"] > 1
    row = statistics.means(units, ["g"], "x", between=(0.0, 1.0)).iloc[0]
    assert row[["low", "high"]].tolist() == [0.0, 1.0]
