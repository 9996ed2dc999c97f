"""Curves over tokens: loss by position and by length, needle score by length."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssmax_eval.report import axes, tables
from ssmax_eval.report.series import labelled, looks
from ssmax_eval.report.statistics import Scale


def loss_by_position(frame: pd.DataFrame, *, bins: int = 64, scale: Scale = "log", first: int = 16) -> Figure:
    """Draw the loss (nats) at each position (tokens), one line per series with its 95 % band over documents.

    `frame` is results with rows of task `loss`. Smoothing: `bins` bins, evenly spaced on the `scale` of
    the axis, as `tables.loss_by_position` says. Positions before `first` are not drawn: their loss is so
    high and so scattered that it would flatten the rest. The training length is a dashed line.
    """
    frame = labelled(frame)
    table = tables.loss_by_position(frame, bins=bins, scale=scale).query("position >= @first")
    figure, ax = _curve(frame, table, "position", markers=False, log=scale == "log")
    unit = "tokens; 1K = 1,024" if scale == "log" else "tokens"
    ax.set(xlabel=f"position in the document ({unit})", ylabel="loss (nats per token)")
    return figure


def loss_by_length(frame: pd.DataFrame, lengths: Sequence[int] | None = None) -> Figure:
    """Draw the mean loss (nats) over the first L tokens against L, one line per series with its 95 % band.

    `frame` is results with rows of task `loss`; `lengths` as in `tables.document_losses`.
    """
    frame = labelled(frame)
    table = tables.loss_by_length(frame, lengths)
    figure, ax = _curve(frame, table, "context_length", markers=True)
    ax.set(xlabel=axes.LENGTH, ylabel="mean loss over the length\n(nats per token)")
    return figure


def retrieval_by_length(frame: pd.DataFrame) -> Figure:
    """Draw the share of needles found against context length, with Wilson's 95 % band, all depths pooled."""
    frame = labelled(frame)
    table = tables.retrieval_by_length(frame).dropna(subset="mean")
    figure, ax = _curve(frame, table, "context_length", markers=True)
    ax.set(xlabel=axes.LENGTH, ylabel="needles found (share of trials)", ylim=(-0.03, 1.03))
    return figure


def needle_by_length(frame: pd.DataFrame) -> Figure:
    """Draw the best head's needle score against context length, with its 95 % band over cells.

    `frame` is results with rows of task `key_attention`; the head is chosen once per series, as
    `tables.best_heads` says.
    """
    frame = labelled(frame)
    table = tables.needle_by_length(frame)
    figure, ax = _curve(frame, table, "context_length", markers=True)
    ax.set(xlabel=axes.LENGTH, ylabel="needle score of the best head\n(attention weight)", ylim=(-0.03, 1.03))
    return figure


def _curve(frame: pd.DataFrame, table: pd.DataFrame, x: str, *, markers: bool, log: bool = True) -> tuple[Figure, Axes]:
    figure, ax = axes.single()
    styles = looks(frame)
    names = [name for name in styles if (table["series"] == name).any()]
    for name in names:
        axes.line(ax, table[table["series"] == name], x, styles[name], markers=markers)
    axes.token_axis(ax, table[x], log=log, ticks=markers)
    axes.legend(figure, frame, names, markers=markers, extra=axes.mark_training(ax, frame))
    return figure, ax
