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

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.report import axes, tables, words
from ssmax_eval.report.quantities import TaskQuantity, declared, find
from ssmax_eval.report.series import labelled, looks

ROW = "row of the query (tokens; 1K = 1,024)"


def fading(frame: pd.DataFrame) -> Figure:
    """Draw all properties of attention weights that fade against the row's position, a panel for each.

    `frame` is results as from `read_results`, with quantities that declare the view "fading" (largest weight,
    entropy, effective keys, weight on the first token). One line per series, averaged over layers and heads, with the
    95 % band over cells; smoothing as `tables.by_position` says.
    """
    frame = labelled(frame)
    properties = [found for found in declared(frame) if "fading" in found.quantity.views]
    if not properties:
        raise NothingMeasured("these results hold nothing that fades with the position")
    across = 2 if axes.width() > 5 else 1
    figure, grid = axes.panels(len(properties), (0.32 if across == 2 else 0.62) * axes.width(), across=across)
    styles = looks(frame)
    for ax, found in zip(grid, properties, strict=True):
        table = tables.by_position(frame, found)
        names = [name for name in styles if (table["series"] == name).any()]
        for name in names:
            axes.line(ax, table[table["series"] == name], "position", styles[name], markers=False)
        ax.set_ylabel(words.axis(found))
        _scales(ax, found, table)
        trained = axes.mark_training(ax, frame)
    axes.label_below(grid, axes.length_label(ROW))
    axes.legend(figure, frame, names, markers=False, extra=trained)
    return figure


def fading_by_layer(frame: pd.DataFrame, quantity: str | TaskQuantity | None = None) -> Figure:
    """Draw one property of the weights against the row's position, a line per layer and a panel per series.

    `frame` is results as from `read_results`; `quantity` a name such as "entropy" (default: the first that is drawn
    this way). Means over heads and cells, dark for the first layer and bright for the last.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "fading_by_layer")
    if "layer" not in frame:
        raise UserError(f"{found.label} was not measured layer by layer")
    table = tables.by_position(frame, found, by=["layer"])
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
        _scales(ax, found, table)
        trained = axes.mark_training(ax, frame) or trained
    figure.supylabel(words.axis(found), fontsize=axes.font("axes.labelsize"))
    axes.label_below(grid, "row of the query (tokens)")
    figure.colorbar(
        colours, ax=grid, label="layer", fraction=0.04, pad=0.02, aspect=20, ticks=MaxNLocator(8, integer=True)
    )
    axes.place_legend(figure, trained)
    return figure


def _scales(ax: Axes, found: TaskQuantity, table: pd.DataFrame) -> None:
    axes.token_axis(ax, table["position"])
    if found.quantity.log and table["mean"].min() > 0:
        ax.set_yscale("log")
        if table["mean"].max() < 50 * table["mean"].min():
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(axes.tokens))
        ax.yaxis.set_minor_formatter(NullFormatter())
    elif found.quantity.between[0] is not None:
        ax.set_ylim(bottom=found.quantity.between[0])
