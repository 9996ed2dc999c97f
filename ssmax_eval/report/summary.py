"""The last table: every series in one row, for the terminal, the page and the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssmax_eval.errors import NothingMeasured, UserError, harmless
from ssmax_eval.report import tables, words
from ssmax_eval.report.quantities import TaskQuantity, find, summarised
from ssmax_eval.report.series import labelled, series_table
from ssmax_eval.report.suites import Scored, known, means, scored_suites
from ssmax_eval.suites import Suite

WIDTH = 100
"""Columns of the terminal."""
SUITE_DIGITS = 2
"""Decimals of the scores of a suite."""


def measures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return every headline value, one a row.

    Columns: those of `series_table`, `measure` (the title of a quantity), `context_length` (tokens), `mean`, `low`,
    `high`, `n` and `failed` (cells). Quantities that no cell tells anything of are left out; raises UserError
    when that leaves nothing.
    """
    frame = labelled(frame)
    parts = []
    for found in summarised(frame):
        try:
            parts.append(tables.by_length(frame, found).assign(measure=found.label))
        except NothingMeasured:
            continue
    if not parts:
        raise UserError("there is nothing to report: no cell of these results has been measured successfully")
    about = series_table(frame)
    names = ["measure", "context_length", "mean", "low", "high", "n", "failed"]
    # Categories differ in type after concat where a part lacked a series; text merges cleanly.
    table = pd.concat([part.astype({"series": "str"}) for part in parts], ignore_index=True)
    table = table.reindex(columns=["series", *names])
    table["context_length"] = table["context_length"].astype("int64")
    table["series"] = pd.Categorical(table["series"], categories=about["series"].cat.categories, ordered=True)
    return about.merge(table, on="series")


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per series and one column per measure and context length, as text with intervals.

    Columns are a MultiIndex (measure, tokens); a cell reads `0.67 [0.30, 0.90]`, empty where not measured.
    """
    frame = labelled(frame)
    digits = {found.label: found.quantity.digits for found in summarised(frame)}
    table = measures(frame)
    table["text"] = [
        interval(mean, low, high, digits[measure])
        for measure, mean, low, high in zip(table["measure"], table["mean"], table["low"], table["high"], strict=True)
    ]
    table["text"] += table["failed"].map(lambda failed: f" ({failed:.0f} failed)" if failed > 0 else "")
    wide = table.pivot(index="series", columns=["measure", "context_length"], values="text").fillna("")
    order = sorted(wide.columns, key=lambda column: (list(digits).index(column[0]), column[1]))
    return wide[order]


def interval(mean: float, low: float, high: float, digits: int) -> str:
    """Write a value with its interval, `0.67 [0.30, 0.90]`; `–` for no value, no brackets for no interval."""
    if pd.isna(mean):
        return "–"
    if pd.isna(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def summary_tables(frame: pd.DataFrame) -> list[tuple[TaskQuantity, str, pd.DataFrame]]:
    """Return the summary in pieces for reading: for each measure its quantity, its meaning and its table.

    A table has the column `series` and a column per context length.
    """
    frame = labelled(frame)
    wide = summary(frame)
    present = wide.columns.get_level_values("measure")
    return [
        (found, words.headline(frame, found), _by_tokens(wide[[found.label]].droplevel(0, axis=1)))
        for found in summarised(frame)
        if found.label in present
    ]


def perplexity(frame: pd.DataFrame, quantity: str | TaskQuantity | None = None) -> pd.DataFrame:
    """Return the table of the field: a row per series, a column per context length, perplexity as text.

    The exponential of the mean loss over the first tokens, and of its 95 % limits.
    """
    table = tables.by_length(frame, find(frame, quantity, "perplexity"))
    values = [np.exp(table[name]) for name in ("mean", "low", "high")]
    texts = [interval(mean, low, high, 2) for mean, low, high in zip(*values, strict=True)]
    return _by_tokens(table.assign(text=texts).pivot(index="series", columns="context_length", values="text"))


def _by_tokens(wide: pd.DataFrame) -> pd.DataFrame:
    table = wide.fillna("")
    table = table[(table != "").any(axis=1)].reset_index()
    return table.set_axis(["series", *(f"{int(length):,}" for length in wide.columns)], axis=1)


def suite_means(of: Scored) -> pd.DataFrame:
    """Return the mean over the tasks of a suite as text: a row per series, a column per context length."""
    table = means(of)
    texts = [interval(*row, SUITE_DIGITS) for row in zip(table["mean"], table["low"], table["high"], strict=True)]
    wide = table.assign(text=texts).pivot(index="series", columns="context_length", values="text")
    return _by_tokens(wide.reindex([name for name in of.series if name in wide.index]))


def terminal(frame: pd.DataFrame, suites: Sequence[str | Suite] = ()) -> str:
    """Return the summary as aligned text of at most 100 columns, one block per measure, then one per suite.

    A block that is too wide goes on below itself; only names that are very long can make it wider. `suites` are those
    of the user's own.
    """
    blocks = [(meaning, table) for _, meaning, table in summary_tables(frame)]
    for of in scored_suites(frame, known(suites)):
        if len(table := suite_means(of)):
            blocks.append((f"{of.suite.title}: mean over {len(of.found)} tasks (share; 95 % over {of.over})", table))
    return harmless("\n\n".join("\n".join([meaning, *_lines(table)]) for meaning, table in blocks))


def _lines(table: pd.DataFrame) -> list[str]:
    names, *columns = [
        [str(head), *map(str, texts)] for head, texts in table.rename(columns={"series": "tokens"}).items()
    ]
    margin = max(map(len, names)) + 2
    widths = [max(map(len, column)) + 2 for column in columns]
    lines: list[str] = []
    while columns:
        fit = 1
        while fit < len(columns) and margin + sum(widths[: fit + 1]) <= WIDTH:
            fit += 1
        for name, *texts in zip(names, *columns[:fit], strict=True):
            row = "".join(text.rjust(width) for text, width in zip(texts, widths, strict=False))
            lines.append(f"  {name.ljust(margin - 2)}{row}".rstrip())
        columns, widths = columns[fit:], widths[fit:]
    return lines
