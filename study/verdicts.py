"""When a claim holds: a difference, its interval, the range that the claim asks for, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssmax_eval.report import statistics

HOLDS, FAILS, OPEN, ABSENT = "holds", "does not hold", "inconclusive", "not measured"
FEWEST = statistics.FEWEST
"""Fewer independent units (seeds, texts, trials) have no interval, and support no verdict."""


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
    texts: int = 0
    """Texts that the units are windows of; 0 where they are no documents."""
    this_limits: tuple[float, float] = (math.nan, math.nan)
    """Limits of a share alone, 95 %; NaN for what is no share."""
    than_limits: tuple[float, float] = (math.nan, math.nan)

    @property
    def mean(self) -> float:
        """this − than."""
        return self.this - self.than


def difference(this: pd.Series, than: pd.Series, unit: str, *, shares: bool = False) -> Difference | None:
    """Pair two series of values by `seed` and unit; None where no pair is left.

    Of several seeds the interval is over the seeds, or over units of all seeds if that is wider, since both are
    samples. Of one seed it is over units: trials with all their depths, texts where there are
    several, documents of one text, or steps. Below `FEWEST` seeds, or units of a single seed, it is NaN.
    """
    if this.empty or than.empty:
        return None
    both = pd.concat([this, than], axis=1, keys=["this", "than"], join="inner").dropna()
    if both.empty:
        return None
    change = both["this"] - both["than"]
    by_seed = both.groupby(level="seed").mean()
    interval = _over_units(change, unit, shares)
    if len(by_seed) > 1:
        over_seeds = _over_seeds(change if shares else by_seed["this"] - by_seed["than"], shares)
        # Few units have no interval (NaN); then that over the seeds counts.
        if math.isnan(over_seeds.low) or not over_seeds.width < interval.width:
            interval = over_seeds
    # Every seed counts the same, however much of it was measured.
    mean = by_seed.mean()
    units = round(len(both) / len(by_seed))
    texts = both.index.get_level_values("source").nunique() if "source" in both.index.names else 0
    found = Difference(mean["this"], mean["than"], *interval, seeds=len(by_seed), units=units, texts=texts)
    if shares:
        found = replace(found, this_limits=_alone(both["this"], unit), than_limits=_alone(both["than"], unit))
    return found


class _Interval(NamedTuple):
    low: float
    high: float
    over: str

    @property
    def width(self) -> float:
        return self.high - self.low


def _over_seeds(change: pd.Series, shares: bool) -> _Interval:
    found = _interval(change, ["seed"], shares)
    return _Interval(found.low, found.high, "seeds")


def _over_units(change: pd.Series, unit: str, shares: bool) -> _Interval:
    names, over = clusters(change, unit)
    if not shares:
        change = change.groupby(level=[name for name in change.index.names if name != "seed"]).mean()
    found = _interval(change, names, shares)
    return _Interval(found.low, found.high, over)


def _alone(values: pd.Series, unit: str) -> tuple[float, float]:
    """The limits of one side, over what the difference is over where there are several seeds: the wider of the two."""
    names, _ = clusters(values, unit)
    over = [["seed"], names] if values.index.get_level_values("seed").nunique() > 1 else [names]
    found = [statistics.one_share(values.to_numpy(np.float64), _labels(values, each)) for each in over]
    # As for the difference, few seeds have no interval, and few units leave it to the seeds.
    best = found[0]
    for other in found[1:]:
        if other.high - other.low > best.high - best.low:
            best = other
    return best.low, best.high


def _labels(values: pd.Series, names: list[str]) -> npt.NDArray[np.int64]:
    return np.asarray(values.index.to_frame(index=False).groupby(names).ngroup(), np.int64)


def _interval(change: pd.Series, names: list[str], shares: bool) -> statistics.Interval:
    interval = statistics.paired_shares if shares else statistics.paired_means
    return interval(change.to_numpy(np.float64), _labels(change, names))


def clusters(change: pd.Series, unit: str) -> tuple[list[str], str]:
    """The levels of the index that tell independent units apart, and what those units are called."""
    levels = [str(name) for name in change.index.names if name != "seed"]
    if "source" in levels:
        if change.index.get_level_values("source").nunique() > 1:
            return ["source"], "texts"
        return ["document"], unit
    return [name for name in levels if name != "depth"] or levels, unit


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


def divided(found: Difference | None, line: float) -> str:
    """Whether one finds and the other fails: `holds` if all of `than` is below the line and all of `this` above it.

    `does not hold` if all of `than` is above, or all of `this` below, else `inconclusive`.
    """
    if found is None:
        return ABSENT
    if found.than_limits[1] < line < found.this_limits[0]:
        return HOLDS
    if found.than_limits[0] >= line or found.this_limits[1] <= line:
        return FAILS
    return OPEN


def signed(value: float, percent: bool, digits: int = 2) -> str:
    """A difference with its sign; of shares, in percentage points."""
    if value == 0:
        return "0"
    return (f"{100 * value:+.0f} points" if percent else f"{value:+.{digits}f}").replace("-", "−")
