"""Curves over tokens: any quantity by context length, or by position."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, floors, tables, words
from ssmax_eval.report.quantities import TaskQuantity, find
from ssmax_eval.report.series import labelled, looks
from ssmax_eval.report.statistics import FEWEST, Scale


def by_length(
    frame: pd.DataFrame, quantity: str | TaskQuantity | None = None, lengths: Sequence[int] | None = None
) -> Figure:
    """Draw a quantity against context length, one line per series with its 95 % band, all depths pooled.

    Where fewer than five units make a band impossible, each is a dot.

    `frame` is results as from `read_results`; `quantity` a name such as "score" or "nll" (default: the first that is
    drawn this way). The numbers are those of `tables.by_length`; `lengths` are the L of a prefix quantity.
    """
    frame = labelled(frame)
    found = find(frame, quantity)
    table = tables.by_length(frame, found, lengths).dropna(subset="mean")
    few = tables.few_by_length(frame, found, lengths) if _some_are_few(table) else None
    figure, ax = _curve(frame, found, table, "context_length", markers=True, few=few)
    floors.hollow(ax, table, found, looks(frame))
    label = f"mean {found.label} over the length" if found.quantity.pool == "prefix" else words.best(found)
    unit = f"share of {words.plural(words.unit(found))}" if found.quantity.pool == "share" else found.quantity.unit
    # The label of a narrow figure has little room beside a low panel.
    gap = " " if len(label) + len(unit) < 34 and found.quantity.pool == "share" else "\n"
    ax.set(xlabel=axes.length_label(), ylabel=f"{label}{gap}({unit})" if unit else label)
    _limits(ax, found)
    return figure


def by_position(
    frame: pd.DataFrame,
    quantity: str | TaskQuantity | None = None,
    *,
    bins: int | None = None,
    scale: Scale = "log",
    first: int = 16,
) -> Figure:
    """Draw a quantity at each position (tokens), one line per series with its 95 % band over units (documents).

    `frame` is results as from `read_results`; `quantity` a name such as "nll" (default: the first that is drawn this
    way). Smoothing: `bins` bins, evenly spaced on the `scale` of the axis, as `tables.by_position` says. Of a prefix
    quantity, positions before `first` are not drawn: a loss is so high and so scattered there that it would flatten
    the rest. The training length is a dashed line. Where fewer than five units make a band impossible, each is a dot.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "by_position")
    table = tables.by_position(frame, found, bins=bins, scale=scale)
    if found.quantity.pool == "prefix":
        table = table.query("position >= @first")
    few = tables.few_by_position(frame, found, bins=bins, scale=scale) if _some_are_few(table) else None
    if few is not None:
        few = few[few["position"] >= table["position"].min()]
    figure, ax = _curve(frame, found, table, "position", markers=False, log=scale == "log", few=few)
    unit = "tokens; 1K = 1,024" if scale == "log" else "tokens"
    ax.set(xlabel=axes.length_label(f"position in the document ({unit})"), ylabel=words.axis(found))
    return figure


def _curve(
    frame: pd.DataFrame,
    found: TaskQuantity,
    table: pd.DataFrame,
    x: str,
    *,
    markers: bool,
    log: bool = True,
    few: pd.DataFrame | None = None,
) -> tuple[Figure, Axes]:
    if table.empty:
        raise NothingMeasured(f"there is no {found.label} to draw")
    figure, ax = axes.single()
    styles = looks(frame)
    names = [name for name in styles if (table["series"] == name).any()]
    for name in names:
        axes.line(ax, table[table["series"] == name], x, styles[name], markers=markers)
        if few is not None:
            axes.dots(ax, few[few["series"] == name], x, styles[name])
    axes.token_axis(ax, table[x], log=log, ticks=markers)
    if found.quantity.log and (table["mean"] > 0).all():
        ax.set_yscale("log")
    axes.legend(figure, frame, names, markers=markers, extra=axes.mark_training(ax, frame))
    return figure, ax


def _some_are_few(table: pd.DataFrame) -> bool:
    """Whether several units, but too few for an interval, are behind a value."""
    return bool(((table["units"] > 1) & (table["units"] < FEWEST)).any())


def _limits(ax: Axes, found: TaskQuantity) -> None:
    least, most = found.quantity.between
    if least is not None and most is not None:
        room = 0.03 * (most - least)
        ax.set_ylim(least - room, most + room)
