"""The ways to show a quantity, by name: what a task names in `Quantity.views` is drawn and tabulated here.

A view is a function from the results and a quantity to pictures and tables. To add one, write it, give it a line in
`VIEWS`, and name it in the task. A name that is not here is shown by length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from ssmax_eval.report import axes, floors, plots, summary, tables, words
from ssmax_eval.report.content import Picture, Table
from ssmax_eval.report.quantities import TaskQuantity, declared
from ssmax_eval.report.statistics import FEWEST


class Shown(NamedTuple):
    """What a view gives."""

    pictures: list[Picture]
    tables: list[Table]


View = Callable[[pd.DataFrame, TaskQuantity], Shown]


def by_length(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """A line per series against context length, and its numbers."""
    name, caption = f"{found.file}-by-length", words.by_length(frame, found)
    table, figure = tables.by_length(frame, found), plots.by_length(frame, found)
    drawn = caption + axes.says_trained(figure) + axes.says_units(figure, words.units(frame, found), FEWEST)
    drawn += floors.says_hollow(table, found)
    return Shown([Picture(name, figure, drawn)], [Table(name, caption, table)])


def heatmap(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """A map of context length and depth for each series, and the numbers of its cells."""
    cells = tables.by_depth(frame, found)
    count = cells["n"] + cells["failed"]
    units = f"{count.min()}–{count.max()}" if count.nunique() > 1 else str(count.max())
    share = found.quantity.pool == "share"
    what = f"Share of trials: {found.label}" if share else words.capital(words.axis(found))
    caption = (
        f"{what}, by context length and depth (0 % is the start of the text), "
        f"{units} trial{'s' * (units != '1')} a cell."
    )
    numbers = f"{words.capital(found.label)} per cell, with the 95 % interval over its trials."
    picture = Picture(f"{found.file}-heatmap", plots.heatmap(frame, found), caption)
    return Shown([picture], [Table(f"{found.file}-cells", numbers, cells)])


def by_position(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """A line per series against the position in the document, and its numbers."""
    table = tables.by_position(frame, found)
    bins = 64 if found.quantity.pool == "prefix" else 24
    caption = (
        f"{words.capital(words.axis(found))} by position in the document. Smoothed in {bins} bins, evenly spaced on a "
        f"log scale; mean and {words.interval(frame, found)}."
    )
    figure = plots.by_position(frame, found)
    dots = axes.says_units(figure, words.units(frame, found), FEWEST)
    name = f"{found.file}-by-position"
    return Shown([Picture(name, figure, caption + axes.says_trained(figure) + dots)], [Table(name, caption, table)])


def perplexity(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """The table of the field: the exponential of a loss, models by lengths."""
    caption = f"Perplexity over the first tokens, with the {words.interval(frame, found)}"
    name = "perplexity" if found.file in found.tasks else f"{found.file}-perplexity"
    return Shown([], [Table(name, caption, summary.perplexity(frame, found), folded=False)])


def by_head(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """Heads side by side, best first, and their numbers."""
    caption = f"{words.capital(found.label)} of every head, best first. Band: {words.interval(frame, found)}."
    name, numbers = f"{found.file}-by-head", f"{words.capital(found.label)} per head, all lengths."
    picture = Picture(name, plots.by_head(frame, found), caption)
    return Shown([picture], [Table(name, numbers, tables.by_head(frame, found))])


def head_map(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """A map of layers and heads."""
    caption = f"{words.capital(found.label)} by layer and head, all lengths. Ring: best head."
    if "seed" in frame:
        caption = f"{words.capital(found.label)} by rank within a checkpoint, all lengths and seeds. Ring: best head."
    return Shown([Picture(f"{found.file}-head-map", plots.head_map(frame, found), caption)], [])


def by_outcome(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """Each trial's value against whether its answer was right."""
    caption = (
        f"{words.capital(words.best(found))} in each trial, and whether the answer was right; sorted within a length."
        f"{words.asked(frame, found)}{words.choice(found)}"
    )
    return Shown([Picture(f"{found.file}-by-outcome", plots.by_outcome(frame, found), caption)], [])


def fading(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """All quantities that fade with the position in one figure, shown with the first of them."""
    together = [other for other in declared(frame) if "fading" in other.quantity.views]
    if found != together[0]:
        return Shown([], [])
    titles = [other.label for other in together]
    listed = f"{', '.join(titles[:-1])} and {titles[-1]}" if titles[1:] else titles[0]
    caption = (
        f"{words.capital(listed)}, against the row of the query; mean over layers and heads, smoothed in 24 log bins, "
        f"with the {words.interval(frame, found)}."
    )
    return Shown([Picture("attention-fading", plots.fading(frame), caption)], [])


def fading_by_layer(frame: pd.DataFrame, found: TaskQuantity) -> Shown:
    """A line per layer against the position."""
    caption = f"{words.capital(found.label)} against the row of the query, a line per layer; mean over heads and cells."
    name = f"{found.file}-fading-by-layer"
    return Shown([Picture(name, plots.fading_by_layer(frame, found), caption)], [])


VIEWS: dict[str, View] = {
    "heatmap": heatmap,
    "by_position": by_position,
    "by_head": by_head,
    "by_length": by_length,
    "perplexity": perplexity,
    "by_outcome": by_outcome,
    "head_map": head_map,
    "fading": fading,
    "fading_by_layer": fading_by_layer,
}
"""Every view by its name."""


def known(found: TaskQuantity) -> list[View]:
    """Return the views of a quantity, in the order in which it names them; one that is not known is by length."""
    return list(dict.fromkeys(VIEWS.get(name, by_length) for name in found.quantity.views))
