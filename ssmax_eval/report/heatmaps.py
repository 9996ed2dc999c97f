"""Heatmaps of what depends on a depth: context length across, depth down."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon, Rectangle

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, tables, words
from ssmax_eval.report.quantities import TaskQuantity, find, rows_of
from ssmax_eval.report.series import labelled, series_table

RED_YELLOW_GREEN = LinearSegmentedColormap.from_list("red-yellow-green", ["#F0496E", "#EBB839", "#0CD79F"])
"""The palette that needle heatmaps are known by; the default can be read by colour-blind eyes."""
MISSING, ALARM = "#C9C9C9", "#D81B3C"
FAILED: dict[str, Any] = {"facecolor": "white", "edgecolor": ALARM, "hatch": "/////", "linewidth": 0}
LITTLE = "floor or ceiling: tells little"
"""The legend's entry for hatched columns."""
HATCHED: dict[str, Any] = {"facecolor": "none", "edgecolor": "#999999", "hatch": "..", "linewidth": 0}
Array = npt.NDArray[np.float64]


def heatmap(
    frame: pd.DataFrame,
    quantity: str | TaskQuantity | None = None,
    *,
    palette: str | Colormap = "cividis",
    values: bool = True,
    intervals: bool = False,
    mean_line: bool = False,
) -> Figure:
    """Draw a quantity as a heatmap of context length and depth, one panel per series, all on one scale.

    `frame` is results as from `read_results`; `quantity` a name such as "score" (default: the first that is drawn
    this way). Cells that were not run are grey, cells whose trials all failed are hatched, and a red corner marks a
    cell with some failed trials. `palette` is a matplotlib colour map or `red-yellow-green`. `values` writes the
    value in each cell where there is room, `intervals` adds its 95 % limits, `mean_line` draws the mean over depths
    in their place (scale at the right). A dashed line ends the lengths that the checkpoint was trained on.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "heatmap")
    digits = found.quantity.digits
    cells = tables.by_depth(frame, found)
    if cells["mean"].isna().all() and not (cells["failed"] > 0).any():
        raise NothingMeasured(f"there is no {found.label} to draw")
    about = series_table(rows_of(frame, found))
    lengths, depths = sorted(cells["context_length"].unique()), sorted(cells["depth"].unique())
    scale = _scale(found, cells["mean"])
    figure, grid, room = cell_panels(len(about), lengths, depths)
    colours = RED_YELLOW_GREEN if palette == "red-yellow-green" else colormaps.get_cmap(palette)
    for ax, name, trained in zip(grid, about["series"], about["train_length"], strict=True):
        part = cells[cells["series"] == name].set_index(["depth", "context_length"])
        mean, low, high, failed = (
            part[column].unstack().reindex(index=depths, columns=lengths).to_numpy("float64")
            for column in ("mean", "low", "high", "failed")
        )
        mesh = draw_cells(ax, mean, colours, scale)
        mark_failures(ax, mean, failed)
        if values and not mean_line:
            texts = [[f"{value:.{digits}f}"] for value in mean.ravel()]
            if intervals:
                limits = zip(low.ravel(), high.ravel(), strict=True)
                texts = [[*text, f"{a:.{digits}f}–{b:.{digits}f}"] for text, (a, b) in zip(texts, limits, strict=True)]
            write_cells(ax, mesh, mean, texts, room)
        title_cells(ax, str(name), about["train_length"], trained, lengths, room)
    if mean_line:
        _draw_means(grid, tables.by_length(frame, found), about["series"], lengths, scale)
    label = words.axis(found)
    # A panel may be low, and its colour bar has room for so many letters.
    label = label if len(label) < 26 else label.replace(" (", "\n(")
    figure.colorbar(mesh, ax=grid, label=label, fraction=0.04, pad=0.02, aspect=20)
    partly = (cells["failed"] > 0) & (cells["n"] > 0)
    shown = {
        "not run": len(cells) < len(lengths) * len(depths) * len(about),
        "all trials failed": bool((cells["n"] == 0).any()),
        "some trials failed": bool(partly.any()),
        "mean over depths": mean_line,
    }
    axes.place_legend(figure, [*trained_handles(about["train_length"], lengths), *handles(shown)])
    return figure


def _scale(found: TaskQuantity, values: pd.Series) -> Normalize:
    """One scale for all panels: all that is possible where that is known, else all that was measured."""
    least, most = found.quantity.between
    if least is None or most is None:
        least, most = (float(x) for x in (values.min(), values.max()))
    return Normalize(least, most if most > least else least + 1)


def cell_panels(
    count: int, lengths: list[float], depths: list[float]
) -> tuple[Figure, list[Axes], tuple[float, float]]:
    """Make panels for grids of depths × lengths; also return the width and height of a cell, in points."""
    base = axes.font("font.size")
    across = min(count, 3 if axes.width() > 5 else 1)
    wide = (axes.width() - base / 8 * (1.3 + 0.1 * across)) / across / len(lengths)
    high = float(np.clip(0.6 * wide, base / 40, base / 18))
    # The label of the colour bar needs its length, however few the depths.
    high = max(high, 0.17 * base / len(depths) / -(-count // across))
    figure, grid = axes.panels(count, high * len(depths) + base / 18, across=across, sharex=True, sharey=True)
    axes.label_below(grid, axes.length_label(axes.LENGTH if across < 3 else "context length (tokens)"))
    figure.supylabel("depth (%)", fontsize=axes.font("axes.labelsize"))
    upright = max(len(axes.tokens(length)) for length in lengths) * 0.62 * axes.font("xtick.labelsize") < wide * 72
    for ax in grid:
        ax.set_xticks(range(len(lengths)), [axes.tokens(length) for length in lengths], rotation=0 if upright else 90)
        every = max(1, round(1.1 * axes.font("ytick.labelsize") / (high * 72)))
        ax.set_yticks(range(0, len(depths), every), [f"{100 * depth:.4g}" for depth in depths[::every]])
        ax.tick_params(length=0, labelbottom=True)
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(len(depths) - 0.5, -0.5))
    return figure, grid, (wide * 72, high * 72)


def draw_cells(ax: Axes, values: Array, colours: Colormap, scale: Normalize) -> Any:
    """Colour a grid of values [depths, lengths] with cell centres at whole numbers; NaN is grey."""
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set_facecolor(MISSING)
    edges = [np.arange(size + 1) - 0.5 for size in values.shape]
    return ax.pcolormesh(
        edges[1],
        edges[0],
        np.ma.masked_invalid(values),
        cmap=colours,
        norm=scale,
        edgecolors="white",
        linewidth=0.5,
    )


def mark_failures(ax: Axes, mean: Array, failed: Array) -> None:
    """Hatch the cells [depths, lengths] that have only failures, and mark a corner where there are some."""
    for row, column in np.argwhere(failed > 0):
        if np.isnan(mean[row, column]):
            ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, **FAILED))
        else:
            corner = [(column + 0.5, row - 0.5), (column + 0.2, row - 0.5), (column + 0.5, row - 0.1)]
            ax.add_patch(Polygon(corner, facecolor=ALARM, edgecolor="white", linewidth=0.5))


def hatch_columns(ax: Axes, columns: list[int], depths: int) -> None:
    """Hatch whole columns of a grid, beneath what is written into its cells."""
    for column in columns:
        ax.add_patch(Rectangle((column - 0.5, -0.5), 1, depths, **HATCHED))


def write_cells(ax: Axes, mesh: Any, values: Array, texts: list[list[str]], room: tuple[float, float]) -> None:
    """Write lines of text into the cells that have a value, if they are readable at the size of a cell."""
    wide, high = room
    base = axes.font("ytick.labelsize")
    lines = max(map(len, texts))
    sizes = [
        min(
            base * (1 if line == 0 else 0.8),
            wide * 0.9 / (0.6 * max(len(t[line]) for t in texts)),
            high / (1.3 * lines),
        )
        for line in range(lines)
    ]
    for index, value in enumerate(values.ravel()):
        if np.isnan(value):
            continue
        row, column = divmod(index, values.shape[1])
        colour = _legible_on(mesh.cmap(mesh.norm(value)))
        for line, (text, size) in enumerate(zip(texts[index], sizes, strict=True)):
            if size >= 0.6 * base:
                shift = 0 if lines == 1 or sizes[1] < 0.6 * base else (-0.2, 0.24)[line]
                ax.text(column, row + shift, text, ha="center", va="center", color=colour, fontsize=size)


def _legible_on(background: tuple[float, ...]) -> str:
    """Black or white, whichever has the higher contrast (WCAG 2) on this colour."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in background[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"


def title_cells(
    ax: Axes, name: str, all_trained: pd.Series, trained: float, lengths: list[float], room: tuple[float, float]
) -> None:
    """Name the panel, and draw the end of the training length as a dashed line between columns.

    The training length is part of the name where panels differ in it; else the legend says it.
    """
    suffix = f" · (trained at {axes.tokens(trained)})" if all_trained.nunique() > 1 and trained > 0 else ""
    axes.title(ax, name + suffix, room[0] / 72 * len(lengths))
    known = sum(length <= trained for length in lengths)
    if 0 < known < len(lengths):
        ax.axvline(known - 0.5, color="white", linewidth=2 * axes.font("lines.linewidth"))
        ax.axvline(known - 0.5, **{**axes.TRAINED, "color": "black"})


def trained_handles(trained: pd.Series, lengths: list[float]) -> list[Any]:
    """The legend's entry for the dashed line, if any panel has one."""
    inside = (trained >= lengths[0]) & (trained < lengths[-1])
    return [axes.trained_handle(trained)] if inside.any() else []


def handles(shown: dict[str, bool]) -> list[Any]:
    """The legend of whatever else the cells show: those of the known entries that are wanted."""
    known: dict[str, Any] = {
        "not run": Patch(color=MISSING),
        "no shared trial": Patch(color=MISSING),
        LITTLE: Patch(**HATCHED),
        "all trials failed": Patch(**FAILED),
        "some trials failed": Line2D([], [], linestyle="", marker=(3, 0, -45), color=ALARM),
        "mean over depths": Line2D([], [], color="black", marker="o"),
    }
    for label in (label for label, wanted in shown.items() if wanted):
        known[label].set_label(label)
    return [known[label] for label, wanted in shown.items() if wanted]


def _draw_means(
    grid: list[Axes], table: pd.DataFrame, names: pd.Series, lengths: list[float], scale: Normalize
) -> None:
    least, most = float(scale.vmin or 0.0), float(scale.vmax or 1.0)
    for ax, name in zip(grid, names, strict=True):
        means = table[table["series"] == name].set_index("context_length")["mean"].reindex(lengths)
        twin = ax.twinx()
        twin.grid(False)
        twin.spines[:].set_visible(False)
        room = 0.03 * (most - least)
        twin.set(ylim=(least - room, most + room), yticks=[least, (least + most) / 2, most])
        twin.tick_params(length=2)
        twin.plot(range(len(lengths)), means, color="white", linewidth=2.2 * axes.font("lines.linewidth"))
        twin.plot(range(len(lengths)), means, color="black", marker="o")
