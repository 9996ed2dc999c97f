"""The last table: every series in one row, for the terminal, the page and the paper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report import tables
from ssmax_eval.report.series import labelled, series_table

RETRIEVAL, LOSS, NEEDLE = "retrieval", "loss", "needle score"
MEANING = {
    RETRIEVAL: "Needles found (share of trials, all depths; Wilson 95 %)",
    LOSS: "Loss over the first tokens (nats per token; 95 % over documents)",
    NEEDLE: "Needle score of the best head (weight on the needle's digits; 95 % over cells)",
}
"""What each measure is, with its unit and its interval."""
DIGITS = {RETRIEVAL: 2, LOSS: 3, NEEDLE: 3}
WIDTH = 100
"""Columns of the terminal."""


def measures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return every headline value, one a row.

    Columns: those of `series_table`, `measure` (a key of `MEANING`), `context_length` (tokens), `mean`,
    `low`, `high`, `n` and `failed` (trials). Tasks without a finished cell are left out; raises UserError
    when that leaves nothing.
    """
    frame = labelled(frame)
    sources: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        RETRIEVAL: tables.retrieval_by_length,
        LOSS: tables.loss_by_length,
        NEEDLE: tables.needle_by_length,
    }
    parts = []
    for measure, source in sources.items():
        try:
            parts.append(source(frame).assign(measure=measure))
        except UserError:
            continue
    if not parts:
        raise UserError("there is nothing to report: no cell of these results has been measured successfully")
    about = series_table(frame)
    names = ["measure", "context_length", "mean", "low", "high", "n", "failed"]
    table = pd.concat(parts, ignore_index=True).reindex(columns=["series", *names])
    table["context_length"] = table["context_length"].astype("int64")
    # Categories differ in type after concat where a part lacked a series; text merges cleanly.
    table["series"] = pd.Categorical(table["series"], categories=about["series"].cat.categories, ordered=True)
    return about.merge(table, on="series")


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per series and one column per measure and context length, as text with intervals.

    Columns are a MultiIndex (measure, tokens); a cell reads `0.67 [0.30, 0.90]`, empty where not measured.
    """
    table = measures(frame)
    table["text"] = [
        interval(mean, low, high, DIGITS[measure])
        for measure, mean, low, high in zip(table["measure"], table["mean"], table["low"], table["high"], strict=True)
    ]
    table["text"] += table["failed"].map(lambda failed: f" ({failed:.0f} failed)" if failed > 0 else "")
    wide = table.pivot(index="series", columns=["measure", "context_length"], values="text").fillna("")
    order = sorted(wide.columns, key=lambda column: (list(MEANING).index(column[0]), column[1]))
    return wide[order]


def interval(mean: float, low: float, high: float, digits: int) -> str:
    """Write a value with its interval, `0.67 [0.30, 0.90]`; `–` for no value, no brackets for no interval."""
    if pd.isna(mean):
        return "–"
    if pd.isna(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def summary_tables(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Return the summary in pieces for reading: for each measure its name, its meaning and its table.

    A table has the column `series` and a column per context length.
    """
    wide = summary(frame)
    present = wide.columns.get_level_values("measure")
    return [
        (measure, meaning, _by_tokens(wide[[measure]].droplevel(0, axis=1)))
        for measure, meaning in MEANING.items()
        if measure in present
    ]


def perplexity(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table of the field: a row per series, a column per context length, perplexity as text.

    The exponential of the mean loss over the first tokens, and of its 95 % limits.
    """
    table = tables.loss_by_length(frame)
    values = [np.exp(table[name]) for name in ("mean", "low", "high")]
    texts = [interval(mean, low, high, 2) for mean, low, high in zip(*values, strict=True)]
    return _by_tokens(table.assign(text=texts).pivot(index="series", columns="context_length", values="text"))


def _by_tokens(wide: pd.DataFrame) -> pd.DataFrame:
    table = wide.fillna("")
    table = table[(table != "").any(axis=1)].reset_index()
    return table.set_axis(["series", *(f"{int(length):,}" for length in wide.columns)], axis=1)


def terminal(frame: pd.DataFrame) -> str:
    """Return the summary as aligned text of at most 100 columns, one block per measure.

    A block that is too wide goes on below itself; only names that are very long can make it wider.
    """
    blocks = ["\n".join([meaning, *_lines(table)]) for _, meaning, table in summary_tables(frame)]
    return "\n\n".join(blocks)


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
