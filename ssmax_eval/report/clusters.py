"""Values that are alike, such as the depths of a trial, and how many independent values they are worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

PULL = 0.5
"""Weight of the largest design effect against the one that is found; see `design_effect`."""


class Clusters(NamedTuple):
    """Groups of values that come in clusters, element by element [groups]."""

    n: Array
    """Values."""
    units: Array
    """Clusters."""
    mean: Array
    """NaN for a group without values."""
    variance: Array
    """Of the mean, as the clusters vary; NaN for a single cluster."""
    equal: Array
    """Clusters of equal size that would weigh the same: n² / Σ size²."""
    apart: Array
    """Clusters, counted in the same way, that hold what differs from the whole number nearest to the mean."""


def clusters(values: Array, group: Codes, cluster: Codes, groups: int) -> Clusters:
    """Return what each of `groups` groups holds. `group` and `cluster` number the group and cluster of each value.

    Numbers begin at 0, and a cluster belongs to one group. The variance is that of a ratio of sums, so clusters may
    differ in size.
    """
    size = np.bincount(cluster).astype(np.float64)
    owner = np.zeros(len(size), np.int64)
    owner[cluster] = group

    def added(parts: Array) -> Array:
        return np.asarray(np.bincount(owner, parts, minlength=groups), np.float64)

    def of_cluster(parts: Array) -> Array:
        return np.asarray(np.bincount(cluster, parts, len(size)), np.float64)

    n, units = added(size), added((size > 0).astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = added(of_cluster(values)) / n
        rest = of_cluster(values - mean[group]) / n[owner]
        variance = added(rest**2) * units / (units - 1)
    off = of_cluster(np.abs(values - np.rint(mean)[group]))
    return Clusters(n, units, mean, variance, _equal(n, added(size**2)), _equal(added(off), added(off**2)))


def design_effect(found: Clusters, of_one: Array) -> Array:
    """Return how often over its variance in n independent values a mean varies; `of_one` is the variance of one value.

    Where most clusters are alike, the few that differ decide about the variance, and it is too small more often than
    too large. So it is a weighted mean of what is found, with the weight `apart`², and of the most that there can be,
    which is the size of a cluster, with the weight `PULL`. Where all values are equal it is the most.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        most = found.n / found.equal
        weight = found.apart**2
        pulled = (weight * found.variance * found.n / of_one + PULL * most) / (weight + PULL)
        return np.asarray(np.where(of_one > 0, np.minimum(pulled, most), most), np.float64)


def _equal(total: Array, squares: Array) -> Array:
    """How many equal parts are as uneven as these (Kish): the square of the sum over the sum of the squares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(squares > 0, total**2 / squares, 0.0)
