"""When a claim holds: a difference, its interval, the range that the claim asks for, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ssmax_eval.report import statistics

HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "inconclusive", "not measured"
SEEDS = 3
"""From this many paired seeds on, they have an interval of their own."""


@dataclass(frozen=True)
class Difference:
    """One thing minus another, on the same seeds and the same units."""

    this: float
    than: float
    low: float
    high: float
    """Limits of this − than, 95 %; NaN where nothing repeats."""
    over: str
    """What the interval is over: "seeds", or the unit."""
    seeds: int
    units: int
    """Of each seed."""

    @property
    def mean(self) -> float:
        """this − than."""
        return self.this - self.than


def difference(this: pd.Series, than: pd.Series, unit: str, *, shares: bool = False) -> Difference | None:
    """Pair two series of values by `seed` and unit; None where no pair is left.

    The interval is Student's over the seeds from `SEEDS` seeds on, and over units (each averaged over the seeds,
    or, of `shares`, pairs of found and missed): the wider of the two, since both are samples.
    """
    if this.empty or than.empty:
        return None
    both = pd.concat([this, than], axis=1, keys=["this", "than"], join="inner").dropna()
    if both.empty:
        return None
    change = both["this"] - both["than"]
    by_seed = both.groupby(level="seed").mean()
    interval = _over_units(change, unit, shares)
    if len(by_seed) >= SEEDS:
        over_seeds = _over_seeds(by_seed["this"] - by_seed["than"], shares)
        # A single unit has no interval (NaN); then that over the seeds counts.
        if not over_seeds.width < interval.width:
            interval = over_seeds
    # Every seed counts the same, however much of it was measured.
    mean = by_seed.mean()
    units = round(len(both) / len(by_seed))
    return Difference(mean["this"], mean["than"], *interval, seeds=len(by_seed), units=units)


class _Interval(NamedTuple):
    low: float
    high: float
    over: str

    @property
    def width(self) -> float:
        return self.high - self.low


def _over_seeds(change: pd.Series, shares: bool) -> _Interval:
    low, high = (float(x) for x in statistics.student(change.mean(), change.std(), len(change)))
    return _Interval(max(low, -1.0), min(high, 1.0), "seeds") if shares else _Interval(low, high, "seeds")


def _over_units(change: pd.Series, unit: str, shares: bool) -> _Interval:
    if shares:
        low, high = map(float, statistics.paired_proportions((change < 0).sum(), (change > 0).sum(), len(change)))
    else:
        units = change.groupby(level=[name for name in change.index.names if name != "seed"]).mean()
        low, high = statistics.paired_means(units.to_numpy(np.float64))[:2]
    return _Interval(low, high, unit)


@dataclass(frozen=True)
class Range:
    """The differences that a claim allows, between two limits."""

    low: float = -math.inf
    high: float = math.inf

    def verdict(self, found: Difference | None) -> str:
        """`holds` if the whole interval is inside, `does not hold` if it is outside, else `inconclusive`."""
        if found is None:
            return ABSENT
        if found.low > self.low and found.high < self.high:
            return HOLDS
        if found.high <= self.low or found.low >= self.high:
            return FAILS
        return OPEN

    def text(self, percent: bool) -> str:
        """The range in words."""
        if self.low == -math.inf:
            return f"below {signed(self.high, percent)}"
        if self.high == math.inf:
            return f"above {signed(self.low, percent)}"
        return f"between {signed(self.low, percent)} and {signed(self.high, percent)}"


def signed(value: float, percent: bool, digits: int = 2) -> str:
    """A difference with its sign; of shares, in percentage points."""
    if value == 0:
        return "0"
    return (f"{100 * value:+.0f} points" if percent else f"{value:+.{digits}f}").replace("-", "−")
