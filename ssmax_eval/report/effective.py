"""One number per series: how long a context may be before results get worse, by the published rules.

Each rule asks a question at every measured length, from the shortest up; the effective length is the last
one before the first *no*. It counts only measured lengths: 0 means not even the shortest, and if the
longest passes, the true value may lie beyond. The limits answer the same question with each estimate at
the lower and at the upper end of its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import tables
from ssmax_eval.report.differences import differences
from ssmax_eval.report.quantities import TaskQuantity, present, rows_of, summarised
from ssmax_eval.report.series import labelled, series_table
from ssmax_eval.report.statistics import Array

RULER = 0.856
"""RULER's threshold (arXiv 2404.06654): the score of Llama-2-7B at 4K tokens."""
NOLIMA = 0.85
"""NoLiMa's threshold (arXiv 2502.05167), as a share of the model's own score in short contexts."""
SHORT = 1024
"""NoLiMa's short contexts: up to this many tokens, or the shortest measured if that is longer."""
EPSILON = 0.1
"""How far the loss may lie above the baseline's on the same text, in nats per token."""
MANY = 3
"""Quantities with the same rule that have a column each; more have a row each."""
TRIALS = 50
"""Trials that each cell needs for the rule of all depths. The worst of several depths is found by chance among few:
with 50, a model that finds 95 % everywhere passes at eleven depths in nine runs of ten."""
RULES = {
    "fixed": f"{RULER:.1%} found (RULER)",
    "relative": f"{NOLIMA:.0%} of short contexts (NoLiMa)",
    "all depths": f"{RULER:.1%} at every depth",
    "loss": f"loss at most {EPSILON} nats above the baseline's",
}
"""What each rule asks for, at least. The first three are for shares of which more is better, the third with `TRIALS`
in each cell; the last is for losses that a baseline has, too."""


def effective_lengths(frame: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return the effective length of each `series` by each `rule` of `RULES` that its quantities allow.

    Columns: `series`, `quantity`, `rule`, `length`, `low`, `high` (tokens; 0 if not even the shortest passes),
    `shortest`, `longest` (measured, tokens), and `multiple` (of the training length). `low` and `high` are NaN where
    an interval is missing. A loss is judged against that of the `baseline`, as in `pairs`, on the same text. Raises
    NothingMeasured if no share of which more is better, and no loss in nats, was measured.
    """
    frame = labelled(frame)
    parts = []
    for found in summarised(frame):
        rules = _rules(found)
        if rules is None:
            continue
        try:
            parts.append(rules(frame, found, baseline).assign(quantity=found.label))
        except NothingMeasured:
            continue
    if not parts:
        raise NothingMeasured("an effective length needs a share of which more is better, or a loss in nats")
    about = series_table(frame)[["series", "train_length"]]
    table = about.merge(pd.concat(parts, ignore_index=True), on="series")
    table["multiple"] = table["length"] / table.pop("train_length")
    return table


def _rules(found: TaskQuantity) -> Callable[[pd.DataFrame, TaskQuantity, str | None], pd.DataFrame] | None:
    quantity = found.quantity
    if quantity.pool == "share" and quantity.better == "higher" and "document" not in quantity.units:
        return _share
    if quantity.pool == "prefix" and quantity.better == "lower" and quantity.unit.startswith("nats"):
        return _loss
    return None


def headline(frame: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return `effective_lengths` for reading: a row per series, a column per rule, `4,096 (2×) [2,048, 8,192]`.

    `≥` says that the longest measured length passes, `<` that the shortest does not. Where two quantities have the
    same rule, the columns name the quantity too; where many have, there is a row per series and quantity.
    """
    return readable(effective_lengths(frame, baseline))


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """Return what `headline` says of a table of `effective_lengths`."""
    table = table.copy()
    table["text"] = [
        written(*row)
        for row in zip(*(table[c] for c in ("length", "low", "high", "shortest", "longest", "multiple")), strict=True)
    ]
    sharing = table.groupby("rule")["quantity"].transform("nunique")
    many = sharing.max() > MANY
    table["column"] = table["rule"].where((sharing == 1) | many, table["quantity"] + ": " + table["rule"].map(RULES))
    index = ["series", "quantity"] if many else ["series"]
    wide = table.pivot(index=index, columns="column", values="text").fillna("")
    return wide[[*(rule for rule in RULES if rule in wide), *(name for name in wide if name not in RULES)]]


def written(length: float, low: float, high: float, shortest: float, longest: float, multiple: float) -> str:
    """Write one effective length, as `headline` says."""

    def bound(value: float) -> str:
        if value == 0:
            return f"< {shortest:,.0f}"
        return f"{'≥ ' if value == longest else ''}{value:,.0f}"

    limits = "" if np.isnan(low) else f" [{bound(low)}, {bound(high)}]"
    return bound(length) + (f" ({multiple:.3g}×)" if length and multiple > 0 else "") + limits


def _share(frame: pd.DataFrame, found: TaskQuantity, _: str | None) -> pd.DataFrame:
    by_length = tables.by_length(frame, found)
    cells = tables.by_depth(frame, found) if present(rows_of(frame, found), ["depth"]) else None
    rows = []
    for name, table in by_length.groupby("series", observed=True):
        table = table.sort_values("context_length")
        lengths = table["context_length"].to_numpy("int64")
        score = table[["mean", "low", "high"]].to_numpy("float64").T
        margins = {"fixed": score - RULER, "relative": _above_own(frame, found, str(name), table, score)}
        if cells is not None and cells.loc[cells["series"] == name, "n"].min() >= TRIALS:
            margins["all depths"] = _worst_depth(cells[cells["series"] == name], lengths) - RULER
        for rule, margin in margins.items():
            rows.append((name, rule, *last(lengths, margin), lengths[0], lengths[-1]))
    return _table(rows)


def _above_own(frame: pd.DataFrame, found: TaskQuantity, name: str, table: pd.DataFrame, score: Array) -> Array:
    """By how much each score [3, lengths] exceeds the share of the short-context score (Newcombe's limits)."""
    most = max(SHORT, table["context_length"].min())
    rows = frame[(frame["series"] == name) & (frame["context_length"] <= most)]
    base, low, high = tables.together(rows, found)
    mean, lower, upper = score
    difference = np.where(mean > 0, mean - NOLIMA * base, -1.0)
    return np.stack(
        [
            difference,
            difference - np.hypot(mean - lower, NOLIMA * (high - base)),
            difference + np.hypot(upper - mean, NOLIMA * (base - low)),
        ]
    )


def _worst_depth(cells: pd.DataFrame, lengths: Array) -> Array:
    """The lowest mean, lower and upper limit over depths [3, lengths]; NaN where a depth was not measured."""
    worst = [
        cells.pivot(index="depth", columns="context_length", values=column).reindex(columns=lengths).min(skipna=False)
        for column in ("mean", "low", "high")
    ]
    return np.stack(worst).astype(np.float64)


def last(lengths: Array, margin: Array) -> list[float]:
    """The last length before the first negative margin, for each of [mean, low, high][lengths].

    What was not measured passes only at the upper end: it shows nothing, and excludes nothing. Where a measured length
    has no interval, the limits are NaN.
    """
    passed = np.stack([margin[0] >= 0, margin[1] >= 0, (margin[2] >= 0) | np.isnan(margin[2])])
    steps = np.cumprod(passed, axis=1).sum(axis=1)
    ends = [float(lengths[step - 1]) if step else 0.0 for step in steps]
    unknown = (~np.isnan(margin[0]) & np.isnan(margin[1])).any()
    return [ends[0], float("nan"), float("nan")] if unknown else ends


def _loss(frame: pd.DataFrame, found: TaskQuantity, baseline: str | None) -> pd.DataFrame:
    if len(series_table(frame)) < 2:
        raise NothingMeasured(f"{found.label} has no baseline here")
    table = differences(frame, baseline, found).dropna(subset="mean")
    rows = []
    for name, part in table.groupby("series", observed=True, sort=False):
        part = part.sort_values("context_length")
        lengths = part["context_length"].to_numpy("int64")
        margin = EPSILON - part[["mean", "high", "low"]].to_numpy("float64").T
        rows.append((name, "loss", *last(lengths, margin), lengths[0], lengths[-1]))
    return _table(rows)


def _table(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["series", "rule", "length", "low", "high", "shortest", "longest"])
