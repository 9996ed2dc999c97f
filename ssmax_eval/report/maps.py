"""Maps of layers and heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.report import axes, tables
from ssmax_eval.report.quantities import TaskQuantity, find
from ssmax_eval.report.series import labelled
from ssmax_eval.report.statistics import Array


def head_map(
    frame: pd.DataFrame, quantity: str | TaskQuantity | None = None, *, context_length: int | None = None
) -> Figure:
    """Draw a quantity of every head as a map, layers down and heads across, one panel per series.

    `frame` is results as from `read_results`; `quantity` a name such as "needle_score" (default: the first that is
    drawn this way). Values are means over cells at one `context_length` (tokens), by default over all lengths. All
    panels share one scale from 0; a ring marks the best head.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "head_map")
    if set(found.quantity.best) != {"layer", "head"}:
        raise NothingMeasured(f"{found.label} has no layers and heads")
    table = tables.by_head(frame, found, context_length)
    names = [str(name) for name in table["series"].cat.categories if (table["series"] == name).any()]
    figure, grid, wide = _panels(len(names), int(table["layer"].max()) + 1, int(table["head"].max()) + 1)
    scale = Normalize(min(float(table["mean"].min()), 0.0), max(float(table["mean"].max()), 1e-6))
    for ax, name in zip(grid, names, strict=True):
        part = table[table["series"] == name]
        mesh = _map(ax, part.pivot(index="layer", columns="head", values="mean").to_numpy("float64"), scale)
        ax.plot(part["head"].iloc[0], part["layer"].iloc[0], marker="o", mfc="none", mec="#D55E00", mew=1.2)
        axes.title(ax, name, wide)
    figure.colorbar(mesh, ax=grid, label=found.label, fraction=0.04, pad=0.02, aspect=20)
    return figure


def learned_s(values: npt.ArrayLike) -> Figure:
    """Draw SSMax's scale s of every head as a map, from an array [layers, heads] (no unit).

    Layers that have none are rows of NaN and stay grey. Raises UserError for any other shape.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or not np.isfinite(array).any():
        raise UserError(f"s must be numbers in an array [layers, heads]; this has the shape {list(array.shape)}")
    figure, (ax,), _ = _panels(1, *array.shape)
    mesh = _map(ax, array, Normalize(np.nanmin(array), np.nanmax(array)))
    figure.colorbar(mesh, ax=ax, label="scale s of SSMax", fraction=0.04, pad=0.02, aspect=20)
    return figure


def _panels(count: int, layers: int, heads: int) -> tuple[Figure, list[Axes], float]:
    base = axes.font("font.size")
    wide = (axes.width() - base / 6) / min(count, 3 if axes.width() > 5 else 1)
    # As tall as the cells of a square map, within a panel that leaves room for others on a page.
    height = float(np.clip(layers * wide / heads, base / 7, base / 2.6))
    figure, grid = axes.panels(count, height + base / 16, sharex=True, sharey=True)
    axes.label_below(grid, "head")
    figure.supylabel("layer", fontsize=axes.font("axes.labelsize"))
    return figure, grid, wide - base / 16


def _map(ax: Axes, values: Array, scale: Normalize) -> Any:
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_facecolor("#C9C9C9")
    edges = [np.arange(size + 1) - 0.5 for size in values.shape]
    ax.set_ylim(edges[0][-1], edges[0][0])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    ax.tick_params(labelbottom=True, length=0)
    return ax.pcolormesh(edges[1], edges[0], np.ma.masked_invalid(values), norm=scale, edgecolors="face", linewidth=0.2)
