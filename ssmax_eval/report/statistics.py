"""Intervals over independent units, in float64.

Every interval is two-sided at 95 %. What is measured is not always independent: all depths of a trial share a
haystack, and the windows of a text share its difficulty. Such values form a cluster, and the interval is over
clusters. A mean gets Student's interval. A share gets Wilson's, and a difference of two shares Bonett and Price's, both
with as many trials as the clusters are worth (see `clusters.design_effect`) and with Student's quantile. Fewer than
`FEWEST` clusters have no interval.

How often an interval holds the truth was simulated for 5 to 20 clusters of 5 or 11 trials that have nothing or much in
common (docs/intervals.md). It is 93 % or more everywhere. More than 97 % cannot be avoided where few results are
possible: about 99 % for shares of .84 and .95 over 5 clusters, and for most differences over 5 to 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

from ssmax_eval.report.clusters import Array as Array
from ssmax_eval.report.clusters import Clusters, Codes, clusters, design_effect

Scale = Literal["log", "linear"]

CONFIDENCE = 0.95
UPPER_TAIL = 0.5 + CONFIDENCE / 2
FEWEST = 5
"""Fewer units than this have no interval: they are drawn one by one, and support no verdict."""
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


def wilson(successes: npt.ArrayLike, trials: npt.ArrayLike, quantile: npt.ArrayLike = Z) -> tuple[Array, Array]:
    """Return the lower and upper limits of a proportion (Wilson 1927), element by element; 95 % with the `quantile` Z.

    The arguments broadcast; where there are no trials both limits are NaN. Coverage of any
    interval for a proportion swings with the true value; Wilson's stays near 95 % on average and does not
    collapse to a point when every trial succeeds.
    """
    k, n, z = (np.asarray(x, np.float64) for x in (successes, trials, quantile))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        # Rounding alone would leave the limits of 0/n and n/n a hair away from the estimate.
        low = np.where(k == 0, p, centre - half)
        high = np.where(k == n, p, centre + half)
    return low, high


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
    table, found = _grouped(units, by, value, cluster)
    low, high = mean_limits(found)
    least, most = between
    return table.assign(low=np.clip(low, least, None), high=np.clip(high, None, most))[[*by, *_COLUMNS]]


def proportions(trials: pd.DataFrame, by: Sequence[str], value: str, *, cluster: Sequence[str] = ()) -> pd.DataFrame:
    """Average a column of shares from 0 to 1 in groups, with Wilson's interval; columns as from `means`.

    Without `cluster` every row is an independent trial, 0 or 1. With it, the trials are counted by what the clusters
    are worth, the quantile is Student's, and the limits are NaN below `FEWEST` clusters.
    """
    table, found = _grouped(trials, by, value, cluster)
    low, high = share_limits(found) if cluster else wilson(found.mean * found.n, found.n)
    return table.assign(low=low, high=high)[[*by, *_COLUMNS]]


def few_units(rows: pd.DataFrame, by: Sequence[str], value: str, cluster: str) -> pd.DataFrame:
    """Return the mean of every cluster of the groups that have several, but too few for an interval.

    Columns: those of `by`, then `mean`.
    """
    kept = rows[rows[value].notna()]
    table = kept.groupby([*by, cluster], observed=True)[value].mean().rename("mean").reset_index()
    units = table.groupby(list(by), observed=True)["mean"].transform("size")
    return table.loc[(units > 1) & (units < FEWEST), [*by, "mean"]].reset_index(drop=True)


_COLUMNS = ("mean", "low", "high", "n", "units")


def _grouped(
    rows: pd.DataFrame, by: Sequence[str], value: str, cluster: Sequence[str]
) -> tuple[pd.DataFrame, Clusters]:
    """The groups with their `mean`, `n` and `units`, and all that is known of their clusters."""
    names = [*by, *(name for name in cluster if name not in by)]
    groups = rows.groupby(list(by), observed=True)
    group = groups.ngroup().to_numpy(np.int64)
    single = np.arange(len(rows))
    each = rows.groupby(names, observed=True, dropna=False).ngroup().to_numpy(np.int64) if cluster else single
    values = rows[value].to_numpy(np.float64, na_value=np.nan)
    kept = ~np.isnan(values) & (group >= 0)
    table = groups.size().index.to_frame(index=False)
    found = clusters(values[kept], group[kept], each[kept], len(table))
    counts = {"n": found.n.astype(np.int64), "units": found.units.astype(np.int64)}
    return table.assign(mean=found.mean, **counts), found


def share_limits(found: Clusters) -> tuple[Array, Array]:
    """Return the 95 % limits of shares over clusters: Wilson's, with as many trials as the clusters are worth."""
    worth = found.n / design_effect(found, found.mean * (1 - found.mean))
    return _cut(found, *wilson(found.mean * worth, worth, _of_shares(found)))


def difference_limits(found: Clusters, gained: Array, lost: Array) -> tuple[Array, Array]:
    """Return the 95 % limits of differences of paired shares over clusters: Bonett and Price's, in the same way.

    `gained` and `lost` are the means of what is above and below 0, both positive.
    """
    worth = found.n / design_effect(found, gained + lost - found.mean**2)
    return _cut(found, *paired_proportions(lost * worth, gained * worth, worth, _of_shares(found)))


def mean_limits(found: Clusters) -> tuple[Array, Array]:
    """Return the 95 % limits of means over clusters: Student's, with one degree of freedom less than equal clusters."""
    half = _quantile(found.equal - 1) * np.sqrt(found.variance)
    return _cut(found, found.mean - half, found.mean + half)


def _quantile(freedom: Array) -> Array:
    """Student's quantile for these degrees of freedom; NaN where there are none."""
    return np.asarray(special.stdtrit(np.where(freedom > 0, freedom, np.nan), UPPER_TAIL), np.float64)


def _of_shares(found: Clusters) -> Array:
    """Student's quantile; the normal one where all values are equal, since no variance is estimated from them."""
    return np.where(found.apart > 0, _quantile(found.equal), Z)


def _cut(found: Clusters, low: Array, high: Array) -> tuple[Array, Array]:
    """The limits, without those of fewer than `FEWEST` clusters."""
    enough = found.units >= FEWEST
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


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


def paired_proportions(
    only_a: npt.ArrayLike, only_b: npt.ArrayLike, pairs: npt.ArrayLike, quantile: npt.ArrayLike = Z
) -> tuple[Array, Array]:
    """Return the limits of the difference b − a of two paired proportions, element by element; 95 % with `quantile` Z.

    Bonett and Price's adjusted Wald interval (2012): it keeps its coverage in small samples, and its width
    where no pair differs. NaN without pairs.
    """
    a, b, n = (np.asarray(x, np.float64) for x in (only_a, only_b, pairs))
    p, q = (b + 1) / (n + 2), (a + 1) / (n + 2)
    half = np.asarray(quantile, np.float64) * np.sqrt((p + q - (p - q) ** 2) / (n + 2))
    known = n > 0
    low, high = np.maximum(p - q - half, -1.0), np.minimum(p - q + half, 1.0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def paired_means(differences: npt.ArrayLike, cluster: npt.ArrayLike | None = None) -> Interval:
    """Return Student's 95 % interval of the mean of paired differences, over their clusters.

    Clusters of unequal size count by their size. NaN below `FEWEST` clusters.
    """
    found = _one_group(differences, cluster).found
    low, high = mean_limits(found)
    method = "paired t-interval" if found.units[0] >= FEWEST else "none"
    return Interval(float(low[0]), float(high[0]), method, int(found.units[0]))


def paired_shares(differences: npt.ArrayLike, cluster: npt.ArrayLike | None = None) -> Interval:
    """Return the 95 % interval of the mean of paired differences of shares (from -1 to 1), over their clusters.

    Bonett and Price's interval with as many pairs as the clusters are worth and Student's quantile; pairs of zeros and
    ones that are clusters of their own count as they are. Where all are zeros and ones, also the exact p-value of
    `sign_flip`. NaN below `FEWEST` clusters.
    """
    values, names, found = _one_group(differences, cluster)
    units = int(found.units[0])
    if units < FEWEST:
        return Interval(float("nan"), float("nan"), "none", units)
    whole = bool(np.isin(values, [-1.0, 0.0, 1.0]).all())
    gained, lost = (np.array([np.clip(sign * values, 0, None).mean()]) for sign in (1, -1))
    alone = whole and units == values.size
    low, high = (
        paired_proportions(lost * units, gained * units, units) if alone else difference_limits(found, gained, lost)
    )
    method = "Bonett-Price interval" + ", exact sign test" * whole
    p = sign_flip(np.bincount(names, values)) if whole else float("nan")
    return Interval(float(low[0]), float(high[0]), method, units, p)


def one_share(values: npt.ArrayLike, cluster: npt.ArrayLike) -> Interval:
    """Return the 95 % interval of the mean of shares (0 to 1) over their clusters; NaN below `FEWEST` clusters."""
    found = _one_group(values, cluster).found
    low, high = share_limits(found)
    return Interval(float(low[0]), float(high[0]), "Wilson interval", int(found.units[0]))


class _Group(NamedTuple):
    values: Array
    names: Codes
    """The cluster of each value, as a number from 0."""
    found: Clusters


def _one_group(differences: npt.ArrayLike, cluster: npt.ArrayLike | None) -> _Group:
    values = np.asarray(differences, np.float64)
    labels = np.arange(values.size) if cluster is None else np.asarray(cluster)
    names = np.asarray(np.unique(labels, return_inverse=True)[1], np.int64)
    return _Group(values, names, clusters(values, np.zeros(values.size, np.int64), names, 1))


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
