"""Figures of what the families do with length: needles found, and loss.

All take rows as from `rows.of_families`, of any families and seeds, and draw one series per family. They raise
NothingMeasured where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, heatmaps
from study import tables
from study.families import PLAIN, RAISED, ROPES, listed
from study.looks import handles, looks, mark_training, multiple
from study.rows import for_drawing

FIRST = 16
"""First position that is drawn: the loss of earlier ones is so high that it would flatten the rest."""
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 20000)
"""Tokens that the mean loss is drawn at."""


def chosen(rows: pd.DataFrame, task: str, *, families: Sequence[str] = (), rope: str | None = None) -> pd.DataFrame:
    """The rows of a task to be drawn, of some families (default: all) and one RoPE (default: all).

    Raises NothingMeasured where no cell is left that did not fail.
    """
    kept = rows[rows["task"] == task]
    kept = kept[kept["family"].isin(families)] if families else kept
    kept = kept if rope is None else kept[kept["rope"] == rope]
    if not (kept["status"] == "ok").any():
        raise NothingMeasured(f"nothing was measured of task '{task}' with {ROPES.get(rope or '', rope)}")
    if task == "loss":  # shorter documents serve the claims about short texts
        kept = kept[kept["context_length"] == kept["context_length"].max()]
    kept = kept.assign(series=kept["series"].cat.remove_unused_categories())
    return for_drawing(kept.dropna(axis="columns", how="all").assign(error=kept["error"]))


def overview(rows: pd.DataFrame, rope: str) -> Figure:
    """Draw needle heatmaps of the main families side by side, and under them their loss by position."""
    needles = chosen(rows, "niah", families=listed().main, rope=rope)
    losses = chosen(rows, "loss", families=listed().main, rope=rope)
    trained = _train_length(rows)
    names = list(looks(needles))
    figure = Figure(figsize=(axes.width(), 0.66 * axes.width()), layout="constrained")
    layout = figure.add_gridspec(2, len(names), height_ratios=(1, 1.05))
    grid = [figure.add_subplot(layout[0, i]) for i in range(len(names))]
    _heatmaps(figure, grid, names, tables.found_by(needles, ["context_length", "depth"]), trained)
    below = figure.add_subplot(layout[1, :])
    table = tables.loss_by_position(losses).query("position >= @FIRST")
    _lines(below, rows, table, "position", markers=False)
    below.set_xlabel(f"position in the document (multiples of the training length, {trained:.0f} tokens)")
    below.set_ylabel("loss (nats per token)")
    # The band of the first few positions is too wide to decide how much is shown.
    low, high = table["mean"].min(), table["mean"].max()
    below.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    marked = mark_training(below, trained)
    axes.place_legend(figure, [*handles(rows, table["series"], markers=False), *marked])
    return figure


def _heatmaps(figure: Figure, grid: list[Axes], names: list[str], cells: pd.DataFrame, trained: float) -> None:
    """Draw the needles of one series in each panel, on one scale, with the training length as a dashed line."""
    lengths, depths = (np.sort(cells[column].unique()) for column in ("context_length", "depth"))
    known = int((lengths <= trained).sum())
    for ax, name in zip(grid, names, strict=True):
        part = cells[cells["series"] == name].set_index(["depth", "context_length"])
        mean, failed = (
            part[column].unstack().reindex(index=depths, columns=lengths).to_numpy("float64")
            for column in ("mean", "failed")
        )
        mesh = heatmaps.draw_cells(ax, mean, colormaps["cividis"], Normalize(0, 1))
        heatmaps.mark_failures(ax, mean, failed)
        ax.set_title(name, loc="left")
        if 0 < known < len(lengths):
            ax.axvline(known - 0.5, color="white", linewidth=2 * axes.font("lines.linewidth"))
            ax.axvline(known - 0.5, **{**axes.TRAINED, "color": "black"})
        ax.set_xticks(range(len(lengths)), [multiple(length, trained) for length in lengths])
        every = max(1, len(depths) // 5)
        ax.set_yticks(range(0, len(depths), every), [f"{100 * depth:.3g}" for depth in depths[::every]])
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(len(depths) - 0.5, -0.5))
        ax.tick_params(length=0, labelleft=ax is grid[0])
    grid[0].set_ylabel("needle depth (%)")
    middle = grid[len(grid) // 2]
    middle.set_xlabel(f"context length (multiples of the training length, {trained:.0f} tokens)")
    figure.colorbar(mesh, ax=grid, label="needles found (share)", fraction=0.03, pad=0.015, aspect=18)


def loss_by_length(rows: pd.DataFrame) -> Figure:
    """Draw the mean loss over the first L tokens against L: all families, a panel for each RoPE."""
    longest = rows.loc[(rows["task"] == "loss") & (rows["status"] == "ok"), "context_length"].max()
    lengths = [length for length in LENGTHS if length <= longest]
    if not lengths:
        raise NothingMeasured(f"no loss was measured at {LENGTHS[0]} tokens or more")
    label = "mean loss over the length\n(nats per token)"
    return _by_length(rows, "loss", lambda part: tables.loss_by_length(part, lengths), label)


def retrieval_by_length(rows: pd.DataFrame) -> Figure:
    """Draw the share of needles found against length, with its 95 % band: all families, a panel for each RoPE."""
    label = "needles found (share of trials)"
    figure = _by_length(rows, "niah", lambda part: tables.found_by(part, ["context_length"]), label)
    for ax in figure.axes:
        ax.set_ylim(-0.03, 1.03)
    return figure


def _by_length(rows: pd.DataFrame, task: str, table: Callable[[pd.DataFrame], pd.DataFrame], label: str) -> Figure:
    points = {}
    for rope in (PLAIN, RAISED):
        try:
            points[rope] = table(chosen(rows, task, rope=rope)).dropna(subset="mean")
        except NothingMeasured:
            continue
    if not points:
        raise NothingMeasured(f"nothing was measured of task '{task}'")
    figure, grid = axes.panels(len(points), 0.42 * axes.width(), across=2, sharey=True)
    for ax, (rope, part) in zip(grid, points.items(), strict=True):
        _lines(ax, rows, part, "context_length", markers=True)
        ax.set_title(ROPES[rope], loc="left")
        ax.set_xlabel("context length (multiples of the training length)")
        marked = mark_training(ax, _train_length(rows))
    grid[0].set_ylabel(label)
    shown = {str(name) for part in points.values() for name in part["series"]}
    axes.place_legend(figure, [*handles(rows, shown, markers=True), *marked])
    return figure


def _lines(ax: Axes, rows: pd.DataFrame, table: pd.DataFrame, x: str, *, markers: bool) -> None:
    """Draw the series of a table, with the looks that they have among all rows."""
    for name, look in looks(rows).items():
        if (table["series"] == name).any():
            axes.line(ax, table[table["series"] == name], x, look, markers=markers)
    trained = _train_length(rows)
    axes.token_axis(ax, table[x], ticks=markers)
    if table[x].max() > 32 * trained:  # too many octaves to mark each
        ax.xaxis.set_major_locator(FixedLocator([trained * 4.0**k for k in range(-2, 5)]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: multiple(value, trained)))


def _train_length(rows: pd.DataFrame) -> float:
    return float(rows["train_length"].iloc[0])
