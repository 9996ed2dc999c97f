"""Figures of what the families do with length: needles, loss, and the weight on the needle.

All take rows as from `rows.of_families`, of any families and seeds, and draw one series per family. They raise
NothingMeasured where there is nothing to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, heatmaps, plots, tables
from ssmax_eval.report.series import looks, series_table
from study.families import PLAIN, RAISED, ROPES, listed
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
    cells, about = tables.retrieval_cells(needles), series_table(needles)
    lengths, depths = sorted(cells["context_length"].unique()), sorted(cells["depth"].unique())
    figure = Figure(figsize=(axes.width(), 0.66 * axes.width()), layout="constrained")
    layout = figure.add_gridspec(2, len(about), height_ratios=(1, 1.05))
    grid = [figure.add_subplot(layout[0, i]) for i in range(len(about))]
    for ax, name, trained in zip(grid, about["series"], about["train_length"], strict=True):
        part = cells[cells["series"] == name].set_index(["depth", "context_length"])
        mean, failed = (
            part[column].unstack().reindex(index=depths, columns=lengths).to_numpy("float64")
            for column in ("mean", "failed")
        )
        mesh = heatmaps.draw_cells(ax, mean, colormaps["cividis"], Normalize(0, 1))
        heatmaps.mark_failures(ax, mean, failed)
        room = (axes.width() / len(about) / len(lengths) * 72, 0.0)
        heatmaps.title_cells(ax, str(name), about["train_length"], trained, lengths, room)
        ax.set_xticks(range(len(lengths)), [_multiple(length, trained) for length in lengths])
        every = max(1, len(depths) // 5)
        ax.set_yticks(range(0, len(depths), every), [f"{100 * depth:.3g}" for depth in depths[::every]])
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(len(depths) - 0.5, -0.5))
        ax.tick_params(length=0, labelleft=ax is grid[0])
    grid[0].set_ylabel("needle depth (%)")
    n = int(about["train_length"].iloc[0])
    grid[len(grid) // 2].set_xlabel(f"context length (multiples of the training length, {n} tokens)")
    figure.colorbar(mesh, ax=grid, label="needles found (share)", fraction=0.03, pad=0.015, aspect=18)
    below = figure.add_subplot(layout[1, :])
    table = tables.loss_by_position(losses).query("position >= @FIRST")
    _lines(below, rows, table, "position", markers=False)
    below.set(xlabel=f"position in the document (multiples of the training length, {n} tokens)")
    below.set_ylabel("loss (nats per token)")
    # The band of the first few positions is too wide to decide how much is shown.
    low, high = table["mean"].min(), table["mean"].max()
    below.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    _legend(figure, rows, table, axes.mark_training(below, losses), markers=False)
    return figure


def loss_by_length(rows: pd.DataFrame) -> Figure:
    """Draw the mean loss over the first L tokens against L: all families, a panel for each RoPE."""
    longest = int(rows.loc[rows["task"] == "loss", "context_length"].max()) if (rows["task"] == "loss").any() else 0
    lengths = [length for length in LENGTHS if length <= longest]
    label = "mean loss over the length\n(nats per token)"
    return _by_length(rows, "loss", lambda part: tables.loss_by_length(part, lengths), label)


def retrieval_by_length(rows: pd.DataFrame) -> Figure:
    """Draw the share of needles found against length, with Wilson's band: all families, a panel for each RoPE."""
    figure = _by_length(rows, "niah", tables.retrieval_by_length, "needles found (share of trials)")
    for ax in figure.axes:
        ax.set_ylim(-0.03, 1.03)
    return figure


def needle_by_head(rows: pd.DataFrame, multiple: int = 8) -> Figure:
    """Draw the needle scores of the heads of the main families, best first (SSMax paper, Fig. 7).

    At `multiple` times the training length, RoPE base × 50; the heads of each seed are ranked by themselves.
    """
    kept = rows[rows["context_length"] == multiple * rows["train_length"]]
    return plots.needle_by_head(chosen(kept, "key_attention", families=listed().main, rope=RAISED))


def needle_by_outcome(rows: pd.DataFrame) -> Figure:
    """Draw the best head's needle score in each trial, and whether the answer was right (SSMax paper, Fig. 8)."""
    part = chosen(rows, "key_attention", families=listed().main, rope=RAISED)
    figure = plots.needle_by_outcome(part, part=0.5, partly="first pair of digits right")
    trained = float(part["train_length"].iloc[0])
    lengths = sorted(part["context_length"].unique())
    for ax in figure.axes:
        ax.set_xticks(range(len(lengths)), [_multiple(length, trained) for length in lengths])
        if ax.get_xlabel():
            ax.set_xlabel("context length (× training)")
    return figure


def _by_length(rows: pd.DataFrame, task: str, table: Callable[[pd.DataFrame], pd.DataFrame], label: str) -> Figure:
    parts = []
    for rope in (PLAIN, RAISED):
        try:
            parts.append((rope, chosen(rows, task, rope=rope)))
        except NothingMeasured:
            continue
    if not parts:
        raise NothingMeasured(f"nothing was measured of task '{task}'")
    drawn: list[pd.DataFrame] = []
    figure, grid = axes.panels(len(parts), 0.42 * axes.width(), across=2, sharey=True)
    for ax, (rope, part) in zip(grid, parts, strict=True):
        points = table(part).dropna(subset="mean")
        drawn.append(points)
        _lines(ax, rows, points, "context_length", markers=True)
        ax.set_title(ROPES[rope], loc="left")
        ax.set_xlabel("context length (multiples of the training length)")
        trained = axes.mark_training(ax, part)
    grid[0].set_ylabel(label)
    _legend(figure, rows, pd.concat([points.astype({"series": "str"}) for points in drawn]), trained, markers=True)
    return figure


def _lines(ax: Axes, rows: pd.DataFrame, table: pd.DataFrame, x: str, *, markers: bool) -> None:
    """Draw the series of a table, with the looks that they have among all rows."""
    for name, look in looks(rows).items():
        if (table["series"] == name).any():
            axes.line(ax, table[table["series"] == name], x, look, markers=markers)
    trained = float(rows["train_length"].iloc[0])
    axes.token_axis(ax, table[x], ticks=markers)
    if table[x].max() > 32 * trained:  # too many octaves to mark each
        ax.xaxis.set_major_locator(FixedLocator([trained * 4.0**k for k in range(-2, 5)]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _multiple(value, trained)))


def _legend(figure: Figure, rows: pd.DataFrame, table: pd.DataFrame, extra: list[Any], *, markers: bool) -> None:
    names = [name for name in looks(rows) if (table["series"] == name).any()]
    axes.legend(figure, rows, names, markers=markers, extra=extra)


def _multiple(length: float, trained: float) -> str:
    """A length as a multiple of the training length: 1/4×, 1×, 10×."""
    share = length / trained
    return f"{share:.3g}×" if share >= 1 else f"1/{1 / share:.3g}×"
