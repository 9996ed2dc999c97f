"""Intervals over independent units, in float64.

Every interval is two-sided at 95 %. What is measured is not always independent: all depths of a trial share a
haystack, and the windows of a text share its difficulty. Such values form a cluster, and the interval is over
clusters. A mean gets Student's interval, a share Wilson's with the number of trials that the spread between clusters
leaves. Fewer than `FEWEST` clusters have no interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

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
FEWEST = 5
"""Fewer units than this have no interval: they are drawn one by one, and support no verdict."""
LEAST_EFFECT = 0.25
"""Smallest design effect of a share: trial means that agree by luck do not make the interval vanish."""
Z = float(special.ndtri(UPPER_TAIL))
"""Normal quantile of a two-sided 95 % interval."""


class Interval(NamedTuple):
    """The 95 % limits of a mean, how they were found, and what they rest on."""

    low: float
    high: float
    method: str
    units: int
    """Clusters."""
    p: float = float("nan")
    """Exact, of no difference; for pairs of found and missed."""


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
    cluster: Sequence[str] = (),
    between: tuple[float | None, float | None] = (None, None),
) -> pd.DataFrame:
    """Average one column in groups, with Student's interval over the clusters of a group.

    `units` has one row per value; NaN does not count. Rows that agree in the columns of `cluster` are one cluster;
    without such columns each row is one. Returns the columns of `by`, then `mean`, `low`, `high` (unit of `value`),
    `n` (values) and `units` (clusters), one row per group, sorted. The limits are NaN below `FEWEST` clusters, and are
    cut at the smallest and the largest possible value, where `between` knows them.
    """
    table, variance = _clustered(units, by, value, cluster)
    with np.errstate(invalid="ignore"):
        half = special.stdtrit(np.maximum(table["units"] - 1, 1), UPPER_TAIL) * np.sqrt(variance)
    enough, (least, most) = table["units"] >= FEWEST, between
    table["low"] = np.clip((table["mean"] - half).where(enough), least, None)
    table["high"] = np.clip((table["mean"] + half).where(enough), None, most)
    return table[[*by, "mean", "low", "high", "n", "units"]]


def proportions(trials: pd.DataFrame, by: Sequence[str], value: str, *, cluster: Sequence[str] = ()) -> pd.DataFrame:
    """Average a column of zeros and ones in groups, with Wilson's interval; columns as from `means`.

    Without `cluster` every row is an independent trial. With it, the trials are counted by what they are worth: their
    number, divided by the design effect (variance between clusters over the binomial variance, from `LEAST_EFFECT` to
    the size of a cluster), and by Student's quantile for that many clusters over the normal one. NaN below `FEWEST`
    clusters.
    """
    table, variance = _clustered(trials, by, value, cluster)
    n, worth = table["n"].to_numpy("float64"), table["n"].to_numpy("float64")
    if cluster:
        worth = n / _design_effect(variance, table["mean"] * (1 - table["mean"]), n, table["units"])
        worth = worth * _shrink(table["units"])
    low, high = wilson(table["mean"] * worth, worth)
    enough = (table["units"] >= FEWEST) | (not cluster)
    table["low"], table["high"] = np.where(enough, low, np.nan), np.where(enough, high, np.nan)
    return table[[*by, "mean", "low", "high", "n", "units"]]


def _clustered(
    rows: pd.DataFrame, by: Sequence[str], value: str, cluster: Sequence[str]
) -> tuple[pd.DataFrame, pd.Series]:
    """The mean of each group with its `n` and `units`, and the variance of that mean between clusters."""
    names = [*by, *(name for name in cluster if name not in by)] if cluster else [*by, "_row"]
    values = rows.assign(_row=np.arange(len(rows))).astype({value: "float64"})
    values.attrs = {}  # pandas copies them with every step
    parts = values.groupby(names, observed=True, dropna=False)[value].agg(["sum", "count"]).reset_index()
    parts["counted"] = parts["count"] > 0
    sums = parts.groupby(list(by), observed=True).agg(
        total=("sum", "sum"), n=("count", "sum"), units=("counted", "sum")
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        sums["mean"] = (sums["total"] / sums["n"]).where(sums["n"] > 0).astype("float64")
        parts = parts.merge(sums[["mean", "n", "units"]].reset_index(), on=list(by))
        rest = (parts["sum"] - parts["mean"] * parts["count"]) / parts["n"]
        parts["square"] = rest**2 * parts["units"] / (parts["units"] - 1)
    variance = parts.groupby(list(by), observed=True)["square"].sum(min_count=1)
    return sums.reset_index(), variance.reindex(sums.index).reset_index(drop=True)


def _design_effect(variance: npt.ArrayLike, of_one: npt.ArrayLike, n: npt.ArrayLike, units: npt.ArrayLike) -> Array:
    """How often over the binomial variance the clusters vary; the size of a cluster where nothing varies."""
    v, one, count, clusters = (np.asarray(x, np.float64) for x in (variance, of_one, n, units))
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.maximum(count / clusters, LEAST_EFFECT)
        return np.where(one > 0, np.clip(v / (one / count), LEAST_EFFECT, most), most)


def _shrink(units: npt.ArrayLike) -> Array:
    """By what an interval of the normal distribution counts fewer trials, so that it is as wide as Student's."""
    clusters = np.asarray(units, np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray((Z / special.stdtrit(np.maximum(clusters - 1, 1), UPPER_TAIL)) ** 2, np.float64)


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


def paired_means(differences: npt.ArrayLike, cluster: npt.ArrayLike | None = None) -> Interval:
    """Return the 95 % interval of the mean of paired differences, over their clusters.

    By `bootstrap`, or by `student` for fewer than `FEW` units: resampling never leaves the range of the data,
    which of a handful of units is too narrow. NaN below `FEWEST` units. Clusters of unequal size count by their size.
    """
    values = np.asarray(differences, np.float64)
    units = _pseudo_values(values, cluster) if cluster is not None and values.size else values
    if units.size < FEWEST:
        return Interval(float("nan"), float("nan"), "none", units.size)
    if units.size >= FEW:
        return Interval(*bootstrap(units), "paired bootstrap", units.size)
    low, high = student(units.mean(), units.std(ddof=1), units.size)
    return Interval(float(low), float(high), "paired t-interval", units.size)


def paired_shares(differences: npt.ArrayLike, cluster: npt.ArrayLike | None = None) -> Interval:
    """Return the 95 % interval of the mean of paired differences of zeros and ones (-1, 0 or 1), over their clusters.

    Bonett and Price's interval with as many pairs as they are worth (see `proportions`), and the exact p-value of
    `sign_flip`. NaN below `FEWEST` clusters.
    """
    values = np.asarray(differences, np.float64)
    n = values.size
    names = np.arange(n) if cluster is None else np.asarray(cluster)
    _, place = np.unique(names, return_inverse=True)
    units = int(place.max()) + 1 if n else 0
    if units < FEWEST:
        return Interval(float("nan"), float("nan"), "none", units)
    worth = float(n)
    if units < n:
        pseudo = _pseudo_values(values, place)
        effect = _design_effect(pseudo.var(ddof=1) / units, values.var(), n, units)
        worth = float(n / effect * _shrink(units))
    lost, gained = ((values * sign > 0).mean() * worth for sign in (-1, 1))
    low, high = paired_proportions(lost, gained, worth)
    p = sign_flip(np.bincount(place, values))
    return Interval(float(low), float(high), "Bonett-Price interval, exact sign test", units, p)


def sign_flip(sums: npt.ArrayLike) -> float:
    """Return the exact two-sided p-value of the sum of whole numbers, if each might as well have the other sign.

    With numbers of -1, 0 and 1 it is the exact McNemar test.
    """
    sizes = np.abs(np.rint(np.asarray(sums, np.float64)).astype(np.int64))
    chance = np.ones(1)
    for size in sizes[sizes > 0]:
        wider = np.zeros(chance.size + 2 * int(size))
        wider[: chance.size] += chance / 2
        wider[2 * int(size) :] += chance / 2
        chance = wider
    reach = int(sizes.sum())
    seen = abs(int(np.rint(np.asarray(sums, np.float64)).sum()))
    return float(min(chance[np.abs(np.arange(-reach, reach + 1)) >= seen].sum(), 1.0))


def _pseudo_values(values: Array, cluster: npt.ArrayLike) -> Array:
    """One value a cluster, with the mean of `values`: the cluster's own mean where all are of one size."""
    _, place = np.unique(np.asarray(cluster), return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    return np.asarray(values.mean() + (sums - values.mean() * counts) * counts.size / values.size, np.float64)


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
