"""The figure: what each candidate gains, against what it costs."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from ssmax_eval.extend.candidates import PLAIN
from ssmax_eval.extend.rungs import Asked
from ssmax_eval.extend.table import Row
from ssmax_eval.report import axes
from ssmax_eval.report.series import COLOURS, MARKERS

COST = "seconds per token, plain = 1"


def figure(rows: Sequence[Row], asked: Asked) -> Figure:
    """Draw effective length and loss at the far end of each candidate against its time per token.

    Filled marks are finalists and the plain checkpoint; hollow ones were dropped, on fewer documents.
    """
    with matplotlib.style.context("ssmax_eval.report.styles.double"):
        return _figure(rows, asked)


def _figure(rows: Sequence[Row], asked: Asked) -> Figure:
    lengths = [row for row in rows if row.effective is not None]
    result, grid = axes.panels(2 if lengths else 1, 2.6, across=2, sharex=True)
    handles = []
    for number, row in enumerate(rows):
        look = _look(number, row)
        _point(grid[0], row.time, row.far.mean, row.far.low, row.far.high, look)
        if lengths and row.effective is not None:
            _point(grid[1], row.time, *row.effective, look)
        handles.append(grid[0].plot([], [], linestyle="", label=row.name, **look)[0])
    grid[0].axhline(0, linewidth=0.6, color="0.6", zorder=1)
    grid[0].set_ylabel("loss at the far end minus plain's\n(nats per token)")
    if lengths:
        longest = [0, *asked.lengths]
        grid[1].set_yscale("symlog", base=2, linthresh=asked.lengths[0])
        grid[1].set_yticks(longest, [axes.tokens(length) if length else "0" for length in longest])
        grid[1].set_ylim(-0.1 * asked.lengths[0], asked.to * 1.5)
        grid[1].minorticks_off()
        grid[1].set_ylabel("effective length (tokens)")
    for ax in grid:
        ax.set_xlabel(COST)
    axes.place_legend(result, handles)
    return result


def _look(number: int, row: Row) -> dict[str, Any]:
    colour = "black" if row.name == PLAIN else COLOURS[number % (len(COLOURS) - 1)]
    marker = MARKERS[number % len(MARKERS)]
    hollow = {} if row.finalist or row.name == PLAIN else {"markerfacecolor": "none"}
    return {"color": colour, "marker": marker, **hollow}


def _point(ax: Any, x: float, y: float, low: float, high: float, look: dict[str, Any]) -> None:
    """Draw one point with its interval, where there is one."""
    ax.plot([x], [y], linestyle="", **look)
    if math.isfinite(low) and math.isfinite(high) and high > low:
        ax.vlines([x], [low], [high], color=look["color"], linewidth=0.8)
