"""The numbers of a suite: its mean over tasks by length, its effective length, and its tasks side by side.

The mean counts each task alike, as RULER's does. Its interval is over trials, for these tasks: the tasks are
independent, so how far each mean may lie from its interval's ends is squared and added (Zou & Donner 2008). It says
what other trials would give, not what other tasks would; for that there is the spread over tasks. Where seeds are
pooled, the interval is over the seeds' means of the suite, since one seed is good or bad at several tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import floors, statistics, tables
from ssmax_eval.report.differences import differences
from ssmax_eval.report.effective import last
from ssmax_eval.report.quantities import TaskQuantity, measured
from ssmax_eval.report.series import labelled, quantities_of, series_table
from ssmax_eval.suites import Suite, files, load

FEWEST = 2
"""Tasks of which there is a mean."""
BY = ["series", "context_length"]


@dataclass(frozen=True)
class Scored:
    """What some results hold of a suite."""

    suite: Suite
    series: Sequence[str]
    """The series that measured some of it, in the order in which a report lists them."""
    found: Mapping[str, TaskQuantity]
    """The headline share of each task that counts, in the order of the suite."""
    cells: pd.DataFrame
    """A row for each `series`, `context_length` (tokens) and `task`: `ability`, `mean`, `low`, `high`, `n`, `units`,
    `failed` (cells), and the bound that it is `at` (see `floors`)."""
    seeds: pd.DataFrame
    """The mean of each `seed` at each of these; empty where no seeds are pooled."""
    others: Sequence[str]
    """Tasks that were measured, and whose headline is no share of which more is better."""
    missing: Sequence[str]
    """Tasks that were not measured, or of which every cell failed."""

    @property
    def over(self) -> str:
        """What intervals are over."""
        return "seeds" if self.seeds["seed"].nunique() > 1 else "trials"

    @property
    def abilities(self) -> dict[str, list[str]]:
        """The tasks that count by their ability."""
        named = {ability: [one.name for one in members] for ability, members in self.suite.tasks.items()}
        kept = {ability: [name for name in names if name in self.found] for ability, names in named.items()}
        return {ability: names for ability, names in kept.items() if names}


def known(given: Sequence[str | Suite] = ()) -> list[Suite]:
    """Return the shipped suites, then those of the user's own, by name or file. UserError for one that is none."""
    own = [one if isinstance(one, Suite) else load(one) for one in given]
    return list({suite.name: suite for suite in [*map(load, files()), *own]}.values())


def scored_suites(frame: pd.DataFrame, suites: Sequence[Suite]) -> list[Scored]:
    """Return what these results hold of each suite of which at least two tasks were measured that give a share.

    A suite of which only tasks of another one were measured is left out: whoever measured that one did not mean it.
    """
    frame = labelled(frame)
    found = []
    for suite in suites:
        try:
            found.append(scored(frame, suite))
        except NothingMeasured:
            continue
    measured = [{*one.found, *one.others} for one in found]
    return [one for one, own in zip(found, measured, strict=True) if not any(own < other for other in measured)]


def scored(frame: pd.DataFrame, suite: Suite) -> Scored:
    """Return what these results hold of a suite. NothingMeasured where fewer than two of its tasks count."""
    frame = labelled(frame)
    there = set(frame["task"].astype("str").unique())
    found: dict[str, TaskQuantity] = {}
    others, missing, parts, seeds = [], [], [], []
    for ability, members in suite.tasks.items():
        for name in (member.name for member in members):
            headline = next(iter(quantities_of(frame, name)), None) if name in there else None
            if headline is None:
                missing.append(name)
                continue
            if not floors.bounded(headline) or headline.better != "higher" or headline.between != (0.0, 1.0):
                others.append(name)
                continue
            quantity = TaskQuantity(headline, (name,), headline.title, name)
            try:
                rows = measured(frame, quantity)
            except NothingMeasured:
                missing.append(name)
                continue
            found[name] = quantity
            table = tables.by_length(frame, quantity)
            table = table.assign(task=name, ability=ability, at=floors.standing(table, headline)["at"])
            parts.append(table.astype({"series": "str"}))
            if "seed" in rows:
                by = [*BY, "seed"]
                seeds.append(
                    statistics.unit_means(rows, by, headline.name).set_axis([*by, "mean"], axis=1).assign(task=name)
                )
    if len(found) < FEWEST:
        raise NothingMeasured(f"of the suite {suite.name}, fewer than {FEWEST} tasks with a share were measured")
    names = [*BY, "task", "ability", "mean", "low", "high", "n", "units", "failed", "at"]
    cells = pd.concat(parts, ignore_index=True)[names]
    series = [name for name in frame["series"].cat.categories if (cells["series"] == name).any()]
    pooled = (
        pd.concat(seeds).astype({"series": "str"}) if seeds else pd.DataFrame(columns=[*BY, "seed", "mean", "task"])
    )
    return Scored(suite, series, found, cells, pooled, others, missing)


def means(of: Scored, tasks: Iterable[str] | None = None) -> pd.DataFrame:
    """Return the mean over tasks for each `series` and `context_length` at which every one of them was measured.

    Columns: `mean`, `low`, `high` (95 %, see above; NaN where a task has none), `tasks` (their number), and over the
    tasks the standard deviation `spread`, `least` and `most`. `tasks` are those of an ability; by default all.
    """
    names = list(of.found if tasks is None else tasks)
    rows = []
    for (series, length), part in of.cells[of.cells["task"].isin(names)].groupby(BY, sort=False):
        part = part.dropna(subset="mean")
        if len(part) < len(names):
            continue
        mean, low, high = squared_and_added(part)
        seeds = of.seeds[(of.seeds["series"] == series) & (of.seeds["context_length"] == length)]
        if seeds["seed"].nunique() > 1:
            low, high = _over_seeds(seeds[seeds["task"].isin(names)])
        spread = part["mean"].std(ddof=1) if len(part) > 1 else np.nan
        least, most = part["mean"].min(), part["mean"].max()
        rows.append((series, length, mean, low, high, len(part), spread, least, most))
    columns = [*BY, "mean", "low", "high", "tasks", "spread", "least", "most"]
    return pd.DataFrame(rows, columns=columns).sort_values(BY, key=_in_order(of), ignore_index=True)


def squared_and_added(parts: pd.DataFrame) -> tuple[float, float, float]:
    """Return the mean of independent means, and its limits from their `mean`, `low` and `high`."""
    mean, count = parts["mean"].mean(), len(parts)
    below, above = parts["mean"] - parts["low"], parts["high"] - parts["mean"]
    reach = [np.sqrt((side**2).sum(skipna=False)) / count for side in (below, above)]
    return float(mean), float(mean - reach[0]), float(mean + reach[1])


def _over_seeds(seeds: pd.DataFrame) -> tuple[float, float]:
    """The limits of the mean over the seeds that have every task."""
    whole = seeds.pivot(index="seed", columns="task", values="mean").dropna().mean(axis=1)
    table = statistics.means(whole.rename("mean").reset_index().assign(all=0), ["all"], "mean", between=(0.0, 1.0))
    return float(table["low"].iloc[0]), float(table["high"].iloc[0])


def incomplete(of: Scored) -> dict[tuple[str, int], list[str]]:
    """Return the tasks that lack a value, for each series and length at which another task has one."""
    lengths = of.cells["context_length"].drop_duplicates().sort_values()
    known = of.cells.dropna(subset="mean").groupby(BY)["task"].agg(set).to_dict()
    found = {}
    for series in of.series:
        for length in lengths:
            if lacking := [name for name in of.found if name not in known.get((series, length), set())]:
                found[series, int(length)] = lacking
    return found


def effective(of: Scored, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the effective length of each `series`: the last length, counted up, whose mean reaches the threshold.

    Columns as those of `effective.effective_lengths`, without `quantity` and `rule`.
    """
    trained = series_table(frame).astype({"series": "str"}).set_index("series")["train_length"]
    rows = []
    for series, part in means(of).groupby("series", sort=False):
        lengths = part["context_length"].to_numpy("int64")
        ends = last(lengths, part[["mean", "low", "high"]].to_numpy("float64").T - of.suite.threshold)
        rows.append((series, *ends, lengths[0], lengths[-1], ends[0] / trained[str(series)]))
    return pd.DataFrame(rows, columns=["series", "length", "low", "high", "shortest", "longest", "multiple"])


def suite_differences(of: Scored, frame: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return the mean difference over tasks, on identical prompts, per pair and `context_length` (0: all together).

    A task counts at the lengths that tell its two series apart (see `floors`), in all together with its own difference
    over those. Columns: `baseline`, `series`, `context_length`, `mean` (series minus baseline), `low`, `high` (95 %),
    `tasks` (that count), and the names of those `left_out`, which are at the floor or the ceiling or share no prompt.
    """
    parts = []
    for name, quantity in of.found.items():
        try:
            parts.append(differences(frame, baseline, quantity).assign(task=name))
        except NothingMeasured:
            continue
    if not parts:
        raise NothingMeasured(f"no two series have measured the same tasks of {of.suite.name}")
    table = pd.concat(parts, ignore_index=True)
    rows = []
    for key, part in table.groupby(["baseline", "series", "context_length"], sort=False):
        telling = part[(part["floor"] == "") & (part["n"] > 0)]
        left = [name for name in part["task"] if name not in set(telling["task"])]
        limits = squared_and_added(telling) if len(telling) else (np.nan,) * 3
        rows.append((*key, *limits, len(telling), ", ".join(left)))
    columns = ["baseline", "series", "context_length", "mean", "low", "high", "tasks", "left_out"]
    return pd.DataFrame(rows, columns=columns).sort_values(
        ["baseline", "series", "context_length"], key=_in_order(of), ignore_index=True
    )


def _in_order(of: Scored) -> Callable[[pd.Series], pd.Series]:
    """Sort by the order in which a report lists the series."""
    order = {name: place for place, name in enumerate(of.series)}
    return lambda column: column.map(order) if column.name in ("series", "baseline") else column
