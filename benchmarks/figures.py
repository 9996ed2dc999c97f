"""Time and peak memory of each attention against length."""

from collections.abc import Iterator
from statistics import median
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.record import Record
from ssmax_eval.report import axes
from ssmax_eval.report.series import COLOURS, DASHES, MARKERS
from ssmax_eval.report.writing import render

REFERENCE: dict[str, Any] = {"color": "#999999", "linewidth": 0.8}


def draw(record: Record) -> None:
    """Write `time.png`, `memory.png` and their PDFs, where the attentions were measured."""
    with matplotlib.style.context("ssmax_eval.report.styles.double"):
        for name, figure in _figures(record):
            for kind in ("png", "pdf"):
                record.write(f"{name}.{kind}", render(figure, kind))


def _figures(record: Record) -> Iterator[tuple[str, Figure]]:
    found = sorted((f for f in record.found.values() if f.section == "attention"), key=lambda f: f.length or 0)
    names = list(dict.fromkeys(name for one in found for name in one.seconds))
    times = {n: [(f.length or 0, median(f.seconds[n])) for f in found if f.seconds.get(n)] for n in names}
    extra = {n: [(f.length or 0, f.extra_bytes[n] / (1 << 20)) for f in found if f.extra_bytes.get(n)] for n in names}
    for name, label, curves in (("time", "time of one layer (s)", times), ("memory", "peak memory (MiB)", extra)):
        if any(curves.values()):
            yield name, _growth(curves, label)


def _growth(curves: dict[str, list[tuple[int, float]]], label: str) -> Figure:
    figure, ax = axes.single()
    handles = []
    for i, (name, points) in enumerate(curves.items()):
        turn, colour = divmod(i, len(COLOURS))
        look: dict[str, Any] = {
            "color": COLOURS[colour],
            "linestyle": DASHES[turn],
            "marker": MARKERS[i % len(MARKERS)],
        }
        ax.plot([x for x, _ in points], [y for _, y in points], **look)
        handles.append(Line2D([], [], label=name, **look))
    ax.set_yscale("log")
    axes.token_axis(ax, [x for points in curves.values() for x, _ in points], ticks=True)
    handles += _slopes(ax, curves)
    ax.set(xlabel=axes.LENGTH, ylabel=label)
    axes.place_legend(figure, handles)
    return figure


def _slopes(ax: Axes, curves: dict[str, list[tuple[int, float]]]) -> list[Line2D]:
    """Lines of linear and of quadratic growth, from the lowest point of the shortest length."""
    every = [point for points in curves.values() for point in points]
    first, last = min(x for x, _ in every), max(x for x, _ in every)
    base = min(y for x, y in every if x == first)
    handles = []
    for power, label, dash in ((1, "linear", ":"), (2, "quadratic", "--")):
        ax.plot([first, last], [base, base * (last / first) ** power], linestyle=dash, zorder=1.5, **REFERENCE)
        handles.append(Line2D([], [], label=label, linestyle=dash, **REFERENCE))
    return handles
