"""Intervals for proportions and for means over documents, in float64.

Every interval is two-sided at 95 %. Retrieval is a proportion and gets Wilson's interval; a loss or a
weight is a mean over documents or cells and gets Student's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

Array = npt.NDArray[np.float64]
Scale = Literal["log", "linear"]

CONFIDENCE = 0.95
UPPER_TAIL = 0.5 + CONFIDENCE / 2
FEW = 10
"""Fewer units than this are not bootstrapped."""
Z = float(special.ndtri(UPPER_TAIL))
"""Normal quantile of a two-sided 95 % interval."""


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the lower and upper 95 % limits of a proportion (Wilson 1927), element by element.

    `successes` and `trials` broadcast; where there are no trials both limits are NaN. Coverage of any
    interval for a proportion swings with the true value; Wilson's stays near 95 % on average and does not
    collapse to a point when every trial succeeds.
    """
    k, n = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        # Rounding alone would leave the limits of 0/n and n/n a hair away from the estimate.
        low = np.where(k == 0, p, centre - half)
        high = np.where(k == n, p, centre + half)
    return low, high


def student(mean: npt.ArrayLike, deviation: npt.ArrayLike, count: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the 95 % limits of a mean, given the sample deviation (n − 1) and the count, element by element.

    With fewer than two values there is no interval: both limits are NaN.
    """
    m, sd, n = (np.asarray(x, np.float64) for x in (mean, deviation, count))
    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.where(n > 1, special.stdtrit(n - 1, UPPER_TAIL) * sd / np.sqrt(n), np.nan)
    return m - half, m + half


def means(
    units: pd.DataFrame,
    by: Sequence[str],
    value: str,
    *,
    between: tuple[float | None, float | None] = (None, None),
) -> pd.DataFrame:
    """Average one column in groups, with Student's interval over the rows of a group.

    `units` has one row per independent unit (a document, a cell); NaN values do not count. Returns the
    columns of `by`, then `mean`, `low`, `high` (unit of `value`) and `n`, one row per group, sorted. Limits
    are cut at the smallest and the largest possible value, where `between` knows them.
    """
    values = units.assign(**{value: units[value].astype("float64")})
    table = values.groupby(list(by), observed=True)[value].agg(["mean", "std", "count"]).reset_index()
    low, high = student(table["mean"], table["std"], table["count"])
    least, most = between
    table["low"], table["high"] = np.clip(low, least, None), np.clip(high, None, most)
    return table.rename(columns={"count": "n"})[[*by, "mean", "low", "high", "n"]]


def proportions(trials: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Average a column of zeros and ones in groups, with Wilson's interval; columns as from `means`."""
    table = trials.groupby(list(by), observed=True)[value].agg(["sum", "count"]).reset_index()
    table["mean"] = (table["sum"] / table["count"]).where(table["count"] > 0).astype("float64")
    table["low"], table["high"] = wilson(table["sum"], table["count"])
    return table.rename(columns={"count": "n"})[[*by, "mean", "low", "high", "n"]]


def bin_edges(last: int, bins: int, scale: Scale) -> npt.NDArray[np.int64]:
    """Cut positions 1…last into at most `bins` half-open bins, evenly spaced on a log or linear scale.

    Where bins would be narrower than one position they merge, so that every bin holds at least one.
    """
    spaced = np.geomspace(1, last + 1, bins + 1) if scale == "log" else np.linspace(1, last + 1, bins + 1)
    return np.unique(np.rint(spaced).astype(np.int64))


def in_bins(positions: pd.Series, edges: npt.NDArray[np.int64], scale: Scale) -> npt.NDArray[np.float64]:
    """Replace each position by the middle of its bin: the geometric mean on a log scale, else the mean."""
    first, last = edges[:-1].astype(np.float64), edges[1:] - 1.0
    middle = np.sqrt(first * last) if scale == "log" else (first + last) / 2
    found = np.searchsorted(edges, positions.to_numpy(np.int64), side="right") - 1
    return np.asarray(middle[found], np.float64)


def unit_means(rows: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Average repeated readings of one column to one row per unit: the columns of `by`, then `value`."""
    values = rows[[*by, value]].astype({value: "float64"})
    return values.groupby(list(by), observed=True, sort=False, dropna=False)[value].mean().reset_index()


def mcnemar(only_a: npt.ArrayLike, only_b: npt.ArrayLike) -> Array:
    """Return the exact two-sided p-value of McNemar's test, element by element.

    `only_a` and `only_b` count the pairs in which just one of the two succeeded; pairs that agree say
    nothing about a difference. Without a pair that differs, p is 1.
    """
    a, b = np.asarray(only_a, np.float64), np.asarray(only_b, np.float64)
    p = 2 * special.bdtr(np.minimum(a, b), (a + b).astype(np.int64), 0.5)
    return np.minimum(np.asarray(p, np.float64), 1.0)


def paired_proportions(only_a: npt.ArrayLike, only_b: npt.ArrayLike, pairs: npt.ArrayLike) -> tuple[Array, Array]:
    """Return the 95 % limits of the difference b − a of two paired proportions, element by element.

    Bonett and Price's adjusted Wald interval (2012): it keeps its coverage in small samples, and its width
    where no pair differs. NaN without pairs.
    """
    a, b, n = (np.asarray(x, np.float64) for x in (only_a, only_b, pairs))
    p, q = (b + 1) / (n + 2), (a + 1) / (n + 2)
    half = Z * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    known = n > 0
    low, high = np.maximum(p - q - half, -1.0), np.minimum(p - q + half, 1.0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def paired_means(differences: npt.ArrayLike) -> tuple[float, float, str]:
    """Return the 95 % limits of the mean of paired differences [units], and how they were found.

    By `bootstrap`, or by `student` for fewer than `FEW` units: resampling never leaves the range of the data,
    which of a handful of units is too narrow.
    """
    values = np.asarray(differences, np.float64)
    if values.size >= FEW:
        return *bootstrap(values), "paired bootstrap"
    if values.size < 2:
        return float("nan"), float("nan"), "none"
    low, high = student(values.mean(), values.std(ddof=1), values.size)
    return float(low), float(high), "paired t-interval"


def bootstrap(differences: npt.ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % limits of the mean of paired differences [units], by resampling the units.

    Percentile bootstrap with the levels widened for small samples (Hesterberg 2015, "expanded percentile"),
    without which 20 units would be covered only 93 % of the time. NaN for fewer than two units.
    """
    values = np.asarray(differences, np.float64)
    if values.size < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, values.size, (resamples, values.size))
    quantile = float(special.stdtrit(values.size - 1, UPPER_TAIL)) * (values.size / (values.size - 1)) ** 0.5
    tail = float(special.ndtr(-quantile))
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)
