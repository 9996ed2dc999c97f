"""How often the intervals over clusters hold the truth, by simulation: `python -m tests.report.coverage`.

A trial of `DEPTHS` cells is a cluster. Its share is drawn from a beta distribution, which has the correlation within a
cluster as its parameter, or its log-odds from a normal one, whose standard deviation is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from scipy import special

from ssmax_eval.report import statistics
from ssmax_eval.report.clusters import Array, Clusters, clusters

SHARES = (0.5, 0.84, 0.95, 0.99)
TRIALS = (5, 7, 10, 20)
DEPTHS = (5, 11)
CORRELATIONS = (0.0, 0.05, 0.2, 0.5)
DEVIATIONS = (0.7, 1.5, 3.0)
PAIRS = ((0.5, 0.5), (0.5, 0.84), (0.84, 0.84), (0.84, 0.95), (0.95, 0.95), (0.5, 0.95), (0.95, 0.99), (0.99, 0.99))
CHANGES = ((0.1, 0.1), (0.3, 0.1), (0.02, 0.02), (0.6, 0.05), (0.05, 0.0), (0.2, 0.0), (0.01, 0.01))
TOGETHER = 0.6
"""Correlation of the log-odds of the two sides of a pair within a trial."""


@dataclass(frozen=True)
class Setting:
    """What is drawn."""

    truth: float
    """The share, or the difference of two."""
    about: str
    """The distribution in words."""
    trials: int
    depths: int
    sides: tuple[float, float] | None = None
    """The shares of both sides of a pair, or of what is gained and lost."""
    correlation: float | None = None
    deviation: float | None = None
    parts: int = 1
    """A cell's score is a mean of so many zeros and ones."""

    def __str__(self) -> str:
        return f"{self.about}, {self.trials} trials of {self.depths} cells"


def shares(
    shares: tuple[float, ...] = SHARES, trials: tuple[int, ...] = TRIALS, depths: tuple[int, ...] = DEPTHS
) -> Iterator[Setting]:
    """Every share with every way in which trials differ."""
    for share, n, m in product(shares, trials, depths):
        for rho in CORRELATIONS:
            yield Setting(share, f"share {share}, correlation {rho}", n, m, correlation=rho)
        for sd in DEVIATIONS:
            yield Setting(share, f"share {share}, log-odds ± {sd}", n, m, deviation=sd)


def pairs(trials: tuple[int, ...] = TRIALS, depths: tuple[int, ...] = DEPTHS) -> Iterator[Setting]:
    """Every pair of shares, and every share of gained and lost, with every way in which trials differ."""
    for n, m in product(trials, depths):
        for (a, b), sd in product(PAIRS, DEVIATIONS):
            yield Setting(b - a, f"shares {a} and {b}, log-odds ± {sd}", n, m, sides=(a, b), deviation=sd)
        for (gain, loss), rho in product(CHANGES, CORRELATIONS):
            about = f"gained {gain}, lost {loss}, correlation {rho}"
            yield Setting(gain - loss, about, n, m, sides=(gain, loss), correlation=rho)


def covered(setting: Setting, runs: int, seed: int = 0) -> float:
    """The share of `runs` simulated results whose interval holds the truth."""
    rng = np.random.default_rng(seed)
    if setting.sides is None:
        low, high = statistics.share_limits(_clusters(_scores(setting, runs, rng)))
    else:
        change = (_changes if setting.deviation is None else _differences)(setting, runs, rng)
        gained, lost = (np.clip(sign * change, 0, None).mean(axis=(1, 2)) for sign in (1, -1))
        low, high = statistics.difference_limits(_clusters(change), gained, lost)
    return float(np.mean((low <= setting.truth + 1e-12) & (setting.truth - 1e-12 <= high)))


def _clusters(values: Array) -> Clusters:
    """What `statistics` sees of values [runs, trials, depths]."""
    runs, trials, depths = values.shape
    cluster = np.repeat(np.arange(runs * trials), depths)
    return clusters(values.ravel(), cluster // trials, cluster, runs)


def _scores(setting: Setting, runs: int, rng: np.random.Generator) -> Array:
    size, p, rho = (runs, setting.trials, 1), setting.truth, setting.correlation
    if setting.deviation is not None:
        chance = special.expit(_middle(p, setting.deviation) + setting.deviation * rng.standard_normal(size))
    elif rho and 0 < p < 1:
        chance = rng.beta(p * (1 - rho) / rho, (1 - p) * (1 - rho) / rho, size)
    else:
        chance = np.full(size, p)
    drawn = rng.binomial(setting.parts, np.broadcast_to(chance, (*size[:2], setting.depths)))
    return np.asarray(drawn / setting.parts, np.float64)


def _changes(setting: Setting, runs: int, rng: np.random.Generator) -> Array:
    """-1, 0 and 1 with chances that differ by trial as a Dirichlet distribution does."""
    assert setting.sides is not None
    gain, loss = setting.sides
    chances = np.broadcast_to(np.array([gain, loss, 1 - gain - loss]), (runs, setting.trials, 3))
    if rho := setting.correlation:
        drawn = rng.gamma(chances * (1 - rho) / rho)
        total = drawn.sum(axis=-1, keepdims=True)
        chances = np.where(total > 0, drawn / np.where(total > 0, total, 1), [0.0, 0.0, 1.0])
    luck = rng.random((runs, setting.trials, setting.depths))
    gained, lost = luck < chances[..., :1], luck > 1 - chances[..., 1:2]
    return gained.astype(np.float64) - lost


def _differences(setting: Setting, runs: int, rng: np.random.Generator) -> Array:
    """Scores of two sides whose log-odds are correlated within a trial; half of the cells share their luck."""
    assert setting.sides is not None
    assert setting.deviation is not None
    size = (runs, setting.trials, setting.depths)
    first, other = rng.standard_normal((2, *size[:2], 1))
    second = TOGETHER * first + (1 - TOGETHER**2) ** 0.5 * other
    luck = rng.random(size)
    own = np.where(rng.random(size) < 0.5, luck, rng.random(size))
    found = [
        u < special.expit(_middle(share, setting.deviation) + setting.deviation * z)
        for share, z, u in zip(setting.sides, (first, second), (luck, own), strict=True)
    ]
    return np.asarray(found[1], np.float64) - np.asarray(found[0], np.float64)


@cache
def _middle(share: float, deviation: float) -> float:
    """The mean of normal log-odds whose chances have this mean."""
    odds = deviation * special.ndtri((np.arange(4000) + 0.5) / 4000)
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if special.expit(middle + odds).mean() < share else (low, middle)
    return (low + high) / 2


def main(runs: int = 4000) -> None:
    """Print how often each interval holds the truth: least, median and most over the settings of a row."""
    rows = [(f"share {share}", n, list(shares((share,), (n,)))) for share in SHARES for n in TRIALS]
    rows += [("difference of two shares", n, list(pairs((n,)))) for n in TRIALS]
    print("| what | trials | least | median | most | 93 to 97 % |\n|---|---|---|---|---|---|")
    for name, n, settings in rows:
        found = np.array([covered(setting, runs) for setting in settings])
        inside = np.mean((found >= 0.93) & (found <= 0.97))
        parts = " | ".join(f"{100 * x:.1f} %" for x in (found.min(), np.median(found), found.max()))
        print(f"| {name} | {n} | {parts} | {inside:.0%} |", flush=True)


if __name__ == "__main__":
    main()
