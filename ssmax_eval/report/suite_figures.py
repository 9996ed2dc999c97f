"""The figures of a suite: its mean and its abilities by length, and every task in one map."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, heatmaps
from ssmax_eval.report.series import looks
from ssmax_eval.report.suites import Scored, means

DIGITS = 2
"""Decimals of a score in a cell."""


def by_ability(of: Scored, frame: pd.DataFrame) -> Figure:
    """Draw the mean of the suite, then that of each ability, against context length: a line per series with its band.

    The dotted line in the first panel is the threshold of an effective length. NothingMeasured where there is no
    length at which every task was measured.
    """
    whole = means(of)
    if whole.empty:
        raise NothingMeasured(f"no length has every task of {of.suite.name}")
    panels = {f"all {len(of.found)} tasks": whole}
    if len(of.abilities) > 1:
        panels |= {f"{name} ({len(tasks)})": means(of, tasks) for name, tasks in of.abilities.items()}
    across = min(len(panels), (4 if len(panels) == 4 else 3) if axes.width() > 5 else 2)
    wide = axes.width() / across
    figure, grid = axes.panels(len(panels), min(0.7 * wide + 0.35, 2.8), across=across, sharex=True, sharey=True)
    styles = {name: look for name, look in looks(frame).items() if name in of.series}
    for ax, (title, table) in zip(grid, panels.items(), strict=True):
        for name, look in styles.items():
            if len(own := table[table["series"] == name]):
                axes.line(ax, own, "context_length", look, markers=True)
        axes.token_axis(ax, of.cells["context_length"], ticks=True)
        axes.title(ax, title, wide - 0.3)
        ax.tick_params(labelbottom=True)
    grid[0].axhline(of.suite.threshold, color="#555555", linestyle=":", linewidth=1)
    grid[0].set_ylim(-0.03, 1.03)
    for ax in grid[::across]:
        ax.set_ylabel("mean score")
    axes.label_below(grid, axes.length_label("context length (tokens)"))
    trained = [axes.mark_training(ax, frame) for ax in grid]
    axes.legend(figure, frame, styles, markers=True, extra=trained[0])
    return figure


def task_map(of: Scored) -> Figure:
    """Draw every task as a row of cells over context length, under its ability's mean, one panel per series.

    The first row is the mean over all tasks. Grey: not measured, or no mean since a task is missing.
    """
    lengths = sorted(of.cells["context_length"].unique())
    rows = _rows(of)
    columns = len(of.series)
    across = min(columns, 3 if axes.width() > 5 else 1)
    base = axes.font("font.size")
    names = max(len(label) for label, _, _ in rows) * 0.6 * axes.font("ytick.labelsize") / 72
    wide = (axes.width() - names - base / 9 - 0.1 * across) / across / len(lengths)
    high = max(1.9 * axes.font("ytick.labelsize") / 72, min(0.5 * wide, 0.25))
    figure, grid = axes.panels(columns, high * len(rows) + base / 18, across=across, sharex=True, sharey=True)
    for ax, name in zip(grid, of.series, strict=True):
        values = np.stack([_of_series(table, name, "mean", lengths) for _, table, _ in rows])
        failed = np.stack([_of_series(table, name, "failed", lengths) for _, table, _ in rows])
        mesh = heatmaps.draw_cells(ax, values, colormaps["cividis"], Normalize(0, 1))
        heatmaps.mark_failures(ax, values, np.nan_to_num(failed))
        texts = [[f"{value:.{DIGITS}f}"] for value in values.ravel()]
        heatmaps.write_cells(ax, mesh, values, texts, (wide * 72, high * 72))
        axes.title(ax, name, wide * len(lengths))
        _name_rows(ax, [label for label, _, _ in rows], [heading for _, _, heading in rows])
        ax.set_xticks(range(len(lengths)), [axes.tokens(length) for length in lengths])
        ax.tick_params(length=0, labelbottom=True)
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    axes.label_below(grid, axes.length_label("context length (tokens)"))
    figure.colorbar(mesh, ax=grid, label="score (share)", fraction=0.03, pad=0.02, aspect=30)
    failing, empty = of.cells["failed"] > 0, of.cells["n"] == 0
    shown = {
        "not run": bool(len(of.cells) < len(of.found) * len(lengths) * columns),
        "all trials failed": bool((failing & empty).any()),
        "some trials failed": bool((failing & ~empty).any()),
    }
    axes.place_legend(figure, heatmaps.handles(shown))
    return figure


def _rows(of: Scored) -> list[tuple[str, pd.DataFrame, bool]]:
    """The rows of the map: a label, its numbers, and whether it is a mean, which stands out."""
    rows = [("all tasks", means(of), True)]
    begin = _shared_beginning(list(of.found))
    for ability, tasks in of.abilities.items():
        if len(of.abilities) > 1:
            rows.append((ability, means(of, tasks), True))
        rows += [(name.removeprefix(begin), of.cells[of.cells["task"] == name], False) for name in tasks]
    return rows


def _shared_beginning(names: list[str]) -> str:
    """What all names begin with, up to the first underscore: `ruler_`."""
    begins = {name.partition("_")[0] for name in names}
    return f"{begins.pop()}_" if len(begins) == 1 else ""


def _of_series(table: pd.DataFrame, name: str, column: str, lengths: list[int]) -> heatmaps.Array:
    if column not in table:
        return np.zeros(len(lengths))
    own = table[table["series"] == name].set_index("context_length")[column]
    return own.reindex(lengths).to_numpy("float64")


def _name_rows(ax: Axes, labels: list[str], headings: list[bool]) -> None:
    """Name the rows; those with a mean are bold, and a line stands above each."""
    ax.set_yticks(range(len(labels)), labels)
    for text, heading in zip(ax.get_yticklabels(), headings, strict=False):  # a panel beside another has no names
        text.set_fontweight("bold" if heading else "normal")
    for row in (row for row, heading in enumerate(headings) if heading):
        ax.axhline(row - 0.5, color="white", linewidth=3)
