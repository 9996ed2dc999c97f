"""What every figure shares: panels, token ticks, bands, the training length, the legend.

Sizes and fonts come from matplotlib's current style, so a figure is as wide as `figure.figsize` says; use
`matplotlib.style.context("ssmax_eval.report.styles.single")` (or `double`, `slides`) around a call.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from ssmax_eval.errors import UserError
from ssmax_eval.report.series import looks, series_table

LENGTH = "context length (tokens; 1K = 1,024)"
TRAINED: dict[str, Any] = {"color": "#555555", "linestyle": (0, (4, 3)), "linewidth": None}
"""How the training length is drawn, in every figure."""


def width() -> float:
    """The width of the current style's figures, in inches."""
    return float(rcParams["figure.figsize"][0])


def font(name: str) -> float:
    """The size of `font.size`, `axes.labelsize`, `lines.linewidth` … in the current style, in points."""
    size = rcParams[name]
    return float(size) if isinstance(size, (int, float)) else FontProperties(size=size).get_size_in_points()


_UNIT: ContextVar[float | None] = ContextVar("unit of lengths, in tokens", default=None)


@contextmanager
def in_multiples(frame: pd.DataFrame, wanted: bool = True) -> Iterator[None]:
    """Write lengths on axes as multiples of the training length, within a block.

    UserError where the checkpoints were trained at several lengths, or at none that is known.
    """
    if not wanted:
        yield
        return
    lengths = sorted(frame["train_length"].dropna().unique())
    if len(lengths) != 1:
        given = ", ".join(f"{length:.0f}" for length in lengths) or "none"
        raise UserError(f"multiples need one training length; these results have {given}")
    token = _UNIT.set(float(lengths[0]))
    try:
        yield
    finally:
        _UNIT.reset(token)


def length_label(text: str = LENGTH) -> str:
    """The label of an axis of lengths: in tokens, or as multiples of the training length within `in_multiples`."""
    unit = _UNIT.get()
    return text if unit is None else f"{text.partition(' (')[0]} (multiples of the training length, {unit:,.0f} tokens)"


def multiple(length: float, trained: float) -> str:
    """A length as a multiple of the training length: 1/4×, 1×, 10×."""
    share = length / trained
    return f"{share:.3g}×" if share >= 1 else f"1/{1 / share:.3g}×"


def tokens(count: float, _: Any = None) -> str:
    """Write a number of tokens: 512, 2K, 20,000; within `in_multiples` as a multiple: 1/4×, 1×, 10×."""
    unit = _UNIT.get()
    if unit is not None:
        return multiple(count, unit)
    return f"{count / 1024:.0f}K" if count >= 1024 and count % 1024 == 0 else f"{count:,.0f}"


def panels(count: int, height: float, *, across: int | None = None, **share: Any) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels in rows of up to `across`, each row `height` inches."""
    columns = min(count, across or (3 if width() > 5 else 1))
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width(), rows * height), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **share).ravel().tolist()
    for spare in grid[count:]:
        spare.remove()
    return figure, grid[:count]


def single(height: float = 0.41) -> tuple[Figure, Axes]:
    """Make a figure of one panel, `height` of its width; narrow figures are less flat."""
    figure, (ax,) = panels(1, width() * (height if width() > 5 else 0.68))
    return figure, ax


def label_below(grid: list[Axes], text: str) -> None:
    """Write the label of x under the lowest panel of each column, clear of a legend below the figure."""
    for ax in grid:
        spec = ax.get_subplotspec()
        if spec is not None and spec.num1 + spec.get_gridspec().ncols >= len(grid):
            ax.set_xlabel(text)


def title(ax: Axes, text: str, inches: float) -> None:
    """Name a panel that is this wide."""
    ax.set_title(fitted(text, inches, font("axes.titlesize")), loc="left")


def fitted(label: str, inches: float, size: float) -> str:
    """Break a series name into lines at its dots, and shorten a part that is too long in the middle."""
    room = max(int(inches * 72 / (0.58 * size)), 8)
    lines: list[str] = []
    for part in label.split(" · "):
        if len(part) > room:
            part = f"{part[: room - room // 2 - 1]}…{part[-(room // 2) :]}"
        if lines and len(lines[-1]) + len(part) + 3 <= room:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return "\n".join(lines)


def token_axis(ax: Axes, values: Iterable[float], *, log: bool = True, ticks: bool = False) -> None:
    """Make x an axis of tokens, with ticks at round numbers or, with `ticks`, at the values if they are few."""
    marks = sorted(set(values))
    if log:
        ax.set_xscale("log", base=2)
        spread = math.log2(max(marks) / max(min(marks), 1)) if marks else 0
        few = ticks and len(marks) <= 9 and (len(marks) == 1 or min(np.diff(np.log2(marks))) >= spread / 14)
        ax.xaxis.set_major_locator(FixedLocator(marks) if few else LogLocator(base=4 if spread > 6 else 2))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.xaxis.set_minor_locator(FixedLocator([]))
        if len(marks) == 1:
            ax.set_xlim(marks[0] / 2, marks[0] * 2)
    ax.xaxis.set_major_formatter(FuncFormatter(tokens))


def mark_training(ax: Axes, frame: pd.DataFrame) -> list[Line2D]:
    """Draw a vertical line at each training length within the x-axis; return the legend's entry, if any."""
    low, high = sorted(ax.get_xlim())
    lengths = [x for x in sorted(series_table(frame)["train_length"].dropna().unique()) if low <= x <= high]
    for length in lengths:
        ax.axvline(length, zorder=1.5, **TRAINED)
    return [trained_handle(lengths)] if lengths else []


def trained_handle(lengths: Iterable[float]) -> Line2D:
    """The legend's entry for the training length, with its value if there is just one."""
    distinct = sorted(set(lengths))
    value = f" ({tokens(distinct[0])})" if len(distinct) == 1 else ""
    return Line2D([], [], label=f"training length{value}", **TRAINED)


def says_trained(figure: Figure) -> str:
    """Return the sentence of a caption about the training length, where the figure draws it; else nothing."""
    return " Dashed: the training length." if in_legend(figure, "training length") else ""


def in_legend(figure: Figure, begins: str) -> bool:
    """Return whether an entry of a figure's legend begins like this."""
    return any(text.get_text().startswith(begins) for legend in figure.legends for text in legend.get_texts())


def line(ax: Axes, table: pd.DataFrame, x: str, look: Mapping[str, Any], *, markers: bool) -> None:
    """Draw `mean` against `x` with a band from `low` to `high`, where there is one; a lone point gets an error bar."""
    table = table.sort_values(x)
    style = dict(look) if markers or len(table) == 1 else {**look, "marker": ""}
    ax.plot(table[x], table["mean"], **style)
    if len(table) == 1:
        ax.vlines(table[x], table["low"], table["high"], color=look["color"])
    ax.fill_between(table[x], table["low"], table["high"], color=look["color"], alpha=0.15, linewidth=0)


UNITS = "units"
"""The mark of dots that are single units, by which a caption knows of them."""


def dots(ax: Axes, table: pd.DataFrame, x: str, look: Mapping[str, Any]) -> None:
    """Draw every `mean` against `x` as a small dot: single units, of which there are too few for a band."""
    if len(table):
        size = 0.5 * font("lines.markersize")
        ax.plot(table[x], table["mean"], "o", color=look["color"], alpha=0.6, markersize=size, gid=UNITS)


def says_units(figure: Figure, units: str, fewest: int) -> str:
    """Return the sentence of a caption about dots that are single `units`, where the figure has any; else nothing."""
    drawn = any(line.get_gid() == UNITS for ax in figure.axes for line in ax.get_lines())
    return f" Small dots: single {units}, where fewer than {fewest} make an interval impossible." if drawn else ""


def legend(
    figure: Figure, frame: pd.DataFrame, names: Iterable[str], *, markers: bool, extra: Iterable[Any] = ()
) -> None:
    """Put one legend for all panels below the figure; names of any length fit."""
    styles = looks(frame)
    room = width() - 0.6
    handles = []
    for name in names:
        look = styles[name] if markers else {**styles[name], "marker": ""}
        handles.append(Line2D([], [], label=fitted(name, room, font("legend.fontsize")), **look))
    place_legend(figure, [*handles, *extra])


def place_legend(figure: Figure, handles: list[Any]) -> None:
    """Put these handles below the panels, in as many columns as fit; the figure grows by their height."""
    if not handles:
        return
    size = font("legend.fontsize")
    texts = [str(handle.get_label()).split("\n") for handle in handles]
    entry = (max(len(line) for text in texts for line in text) * 0.58 + 4.5) * size
    columns = max(1, min(len(handles), int(width() * 72 / entry)))
    rows = math.ceil(len(handles) / columns) * max(map(len, texts))
    figure.set_figheight(figure.get_figheight() + (1.5 * rows + 1) * size / 72)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
