"""Attention fading: how the weights of a row spread as there are more keys."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ssmax_eval.errors import UserError
from ssmax_eval.report import axes, tables
from ssmax_eval.report.series import labelled, looks

PROPERTIES = {
    "max_weight": "largest weight",
    "entropy": "entropy (nats)",
    "effective_keys": "effective number of keys",
    "first_weight": "weight on the first token",
}
"""The properties of a row of weights, with axis labels."""
ROW = "row of the query (tokens; 1K = 1,024)"


def attention_fading(frame: pd.DataFrame) -> Figure:
    """Draw largest weight, entropy, effective keys and first-token weight against the row's position.

    `frame` is results with rows of task `key_attention`. One line per series, averaged over layers and
    heads, with the 95 % band over cells; smoothing as `tables.attention_by_position` says.
    """
    frame = labelled(frame)
    across = 2 if axes.width() > 5 else 1
    figure, grid = axes.panels(len(PROPERTIES), (0.32 if across == 2 else 0.62) * axes.width(), across=across)
    styles = looks(frame)
    for ax, value in zip(grid, PROPERTIES, strict=True):
        table = tables.attention_by_position(frame, value)
        names = [name for name in styles if (table["series"] == name).any()]
        for name in names:
            axes.line(ax, table[table["series"] == name], "position", styles[name], markers=False)
        ax.set_ylabel(PROPERTIES[value])
        _scales(ax, value, table)
        trained = axes.mark_training(ax, frame)
    axes.label_below(grid, ROW)
    axes.legend(figure, frame, names, markers=False, extra=trained)
    return figure


def attention_fading_by_layer(frame: pd.DataFrame, value: str = "effective_keys") -> Figure:
    """Draw one property of the weights against the row's position, a line per layer and a panel per series.

    `frame` is results with rows of task `key_attention`; `value` is a key of `PROPERTIES`. Means over heads
    and cells, dark for the first layer and bright for the last.
    """
    if value not in PROPERTIES:
        raise UserError(f"unknown property '{value}' of attention weights; known: {', '.join(PROPERTIES)}")
    frame = labelled(frame)
    table = tables.attention_by_position(frame, value, by=["layer"])
    names = [name for name in looks(frame) if (table["series"] == name).any()]
    wide = axes.width() / min(len(names), 3 if axes.width() > 5 else 1)
    figure, grid = axes.panels(len(names), max(0.24 * axes.width(), 0.55 * wide), sharex=True, sharey=True)
    last = int(table["layer"].max())
    # The brightest tenth of the palette is too pale for lines on white.
    shades = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, last + 1)))
    colours = ScalarMappable(Normalize(-0.5, last + 0.5), shades)
    trained: list[Any] = []
    for ax, name in zip(grid, names, strict=True):
        part = table[table["series"] == name]
        for layer in part["layer"].unique():
            points = part[part["layer"] == layer]
            ax.plot(points["position"], points["mean"], color=colours.to_rgba(layer), linewidth=1.1)
        axes.title(ax, name, wide - 0.5)
        ax.tick_params(labelbottom=True)
    for ax in grid:
        # Panels share their limits, so these come after the last line.
        _scales(ax, value, table)
        trained = axes.mark_training(ax, frame) or trained
    figure.supylabel(PROPERTIES[value], fontsize=axes.font("axes.labelsize"))
    axes.label_below(grid, "row of the query (tokens)")
    figure.colorbar(
        colours, ax=grid, label="layer", fraction=0.04, pad=0.02, aspect=20, ticks=MaxNLocator(8, integer=True)
    )
    axes.place_legend(figure, trained)
    return figure


def _scales(ax: Axes, value: str, table: pd.DataFrame) -> None:
    axes.token_axis(ax, table["position"])
    if value == "effective_keys":
        ax.set_yscale("log")
        if table["mean"].max() < 50 * table["mean"].min():
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(axes.tokens))
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=0)
