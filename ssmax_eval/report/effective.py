"""One number per series: how long a context it really copes with, by the published rules.

Each rule asks a question at every measured length, from the shortest up; the effective length is the last
one before the first *no*. It counts only measured lengths: 0 means not even the shortest, and if the
longest passes, the true value may lie beyond. The limits answer the same question with each estimate at
the lower and at the upper end of its 95 % interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report import statistics, tables
from ssmax_eval.report.series import labelled, series_table
from ssmax_eval.report.statistics import Array

RULER = 0.856
"""RULER's threshold (arXiv 2404.06654): the score of Llama-2-7B at 4K tokens."""
NOLIMA = 0.85
"""NoLiMa's threshold (arXiv 2502.05167), as a share of the model's own score in short contexts."""
SHORT = 1024
"""NoLiMa's short contexts: up to this many tokens, or the shortest measured if that is longer."""
EPSILON = 0.1
"""How far the loss may rise above its best, in nats per token."""
RULES = {
    "fixed": f"{RULER:.1%} found (RULER)",
    "relative": f"{NOLIMA:.0%} of short contexts (NoLiMa)",
    "all depths": f"{RULER:.1%} at every depth",
    "loss": f"loss within {EPSILON} nats of best",
}
"""What each rule asks for, at least."""


def effective_lengths(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the effective length of each `series` by each `rule` of `RULES` that its tasks allow.

    Columns: `series`, `rule`, `length`, `low`, `high` (tokens; 0 if not even the shortest passes),
    `shortest`, `longest` (measured, tokens), and `multiple` (of the training length). Raises UserError if
    neither needles nor loss were measured.
    """
    frame = labelled(frame)
    parts = []
    for rules in (_retrieval, _loss):
        try:
            parts.append(rules(frame))
        except UserError:
            continue
    if not parts:
        raise UserError("an effective length needs results of task 'niah' or 'loss'")
    about = series_table(frame)[["series", "train_length"]]
    table = about.merge(pd.concat(parts, ignore_index=True), on="series")
    table["multiple"] = table["length"] / table.pop("train_length")
    return table


def headline(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `effective_lengths` for reading: a row per series, a column per rule, `4,096 (2×) [2,048, 8,192]`.

    `≥` says that the longest measured length passes, `<` that the shortest does not.
    """
    table = effective_lengths(frame)
    table["text"] = [
        _text(*row)
        for row in zip(*(table[c] for c in ("length", "low", "high", "shortest", "longest", "multiple")), strict=True)
    ]
    wide = table.pivot(index="series", columns="rule", values="text").fillna("")
    return wide[[rule for rule in RULES if rule in wide]]


def _text(length: float, low: float, high: float, shortest: float, longest: float, multiple: float) -> str:
    def bound(value: float) -> str:
        if value == 0:
            return f"< {shortest:,.0f}"
        return f"{'≥ ' if value == longest else ''}{value:,.0f}"

    limits = "" if np.isnan(low) else f" [{bound(low)}, {bound(high)}]"
    return bound(length) + (f" ({multiple:.3g}×)" if length else "") + limits


def _retrieval(frame: pd.DataFrame) -> pd.DataFrame:
    by_length, cells = tables.retrieval_by_length(frame), tables.retrieval_cells(frame)
    rows = []
    for name, table in by_length.groupby("series", observed=True):
        table = table.sort_values("context_length")
        lengths = table["context_length"].to_numpy("int64")
        score = table[["mean", "low", "high"]].to_numpy("float64").T
        worst = _worst_depth(cells[cells["series"] == name], lengths)
        for rule, margin in [
            ("fixed", score - RULER),
            ("relative", _above_own(table, score)),
            ("all depths", worst - RULER),
        ]:
            rows.append((name, rule, *_last(lengths, margin), lengths[0], lengths[-1]))
    return _table(rows)


def _above_own(table: pd.DataFrame, score: Array) -> Array:
    """By how much each score [3, lengths] exceeds the share of the short-context score (Newcombe's limits)."""
    short = table["context_length"] <= max(SHORT, table["context_length"].min())
    trials = table["n"][short].sum()
    found = np.rint((table["mean"] * table["n"])[short].sum())
    base, (low, high) = found / max(trials, 1), statistics.wilson(found, trials)
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


def _last(lengths: Array, margin: Array) -> list[int]:
    """The last length before the first negative margin, for each of [mean, low, high][lengths].

    What was not measured passes only at the upper end: it shows nothing, and excludes nothing.
    """
    passed = np.stack([margin[0] >= 0, margin[1] >= 0, (margin[2] >= 0) | np.isnan(margin[2])])
    steps = np.cumprod(passed, axis=1).sum(axis=1)
    return [int(lengths[step - 1]) if step else 0 for step in steps]


def _loss(frame: pd.DataFrame) -> pd.DataFrame:
    losses = tables.document_losses(frame)
    unit = [name for name in ("source", "document") if name in losses]
    rows = []
    for name, part in losses.groupby("series", observed=True):
        wide = part.pivot(index=unit, columns="context_length", values="nll").dropna()
        if wide.empty:
            continue
        lengths = wide.columns.to_numpy("int64")
        best = int(wide.mean().to_numpy().argmin())
        # Within a document, so that hard documents do not widen the interval.
        rise = wide.sub(wide.iloc[:, best], axis=0)
        low, high = statistics.student(rise.mean(), rise.std(), len(rise))
        margin = EPSILON - np.stack([rise.mean().to_numpy("float64"), high, low])
        margin[:, : best + 1] = 0
        length, lower, upper = _last(lengths, margin)
        known = len(rise) > 1
        rows.append(
            (name, "loss", length, lower if known else np.nan, upper if known else np.nan, lengths[0], lengths[-1])
        )
    return _table(rows)


def _table(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["series", "rule", "length", "low", "high", "shortest", "longest"])
