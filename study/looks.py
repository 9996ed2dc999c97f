"""How families look: a colour, dashes and a marker each, the same in every figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ssmax_eval.report import axes
from ssmax_eval.report.series import COLOURS, DASHES, MARKERS


def look(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of the family with this number in the page's order."""
    turn, colour = divmod(number, len(COLOURS))
    return {
        "color": COLOURS[colour],
        "linestyle": DASHES[turn % len(DASHES)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def looks(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The look of every series in these rows, in the page's order."""
    return {str(name): look(i) for i, name in enumerate(rows["series"].cat.remove_unused_categories().cat.categories)}


def handles(rows: pd.DataFrame, shown: Iterable[object], *, markers: bool) -> list[Line2D]:
    """Entries of a legend: those series of `rows` that are shown."""
    names = set(map(str, shown))
    return [
        Line2D([], [], label=name, **(found if markers else {**found, "marker": ""}))
        for name, found in looks(rows).items()
        if name in names
    ]


def mark_training(ax: Axes, trained: float) -> list[Line2D]:
    """Draw a line at the training length, if it is within the x-axis; return the legend's entry."""
    low, high = sorted(ax.get_xlim())
    if not low <= trained <= high:
        return []
    ax.axvline(trained, zorder=1.5, **axes.TRAINED)
    return [axes.trained_handle([trained])]


def multiple(length: float, trained: float) -> str:
    """A length as a multiple of the training length: 1/4×, 1×, 10×."""
    share = length / trained
    return f"{share:.3g}×" if share >= 1 else f"1/{1 / share:.3g}×"
