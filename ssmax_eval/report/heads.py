"""What single heads do."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, tables, words
from ssmax_eval.report.quantities import TaskQuantity, find, measured
from ssmax_eval.report.series import labelled, looks


def by_head(
    frame: pd.DataFrame,
    quantity: str | TaskQuantity | None = None,
    *,
    top: int = 25,
    context_length: int | None = None,
) -> Figure:
    """Draw a quantity of each series' heads, best first (needle scores: SSMax paper, arXiv 2501.19399, Fig. 7).

    `frame` is results as from `read_results`; `quantity` a name such as "needle_score" (default: the first that is
    drawn this way). Shows the `top` heads at one `context_length` (tokens; default: the longest that every series was
    measured at, else the longest), with the 95 % band over cells.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "by_head")
    if context_length is None:
        context_length = common_length(frame, found)
    table = tables.by_head(frame, found, context_length)
    heads = table.groupby("series", observed=True).size().max()
    figure, ax = axes.single(0.38)
    styles = looks(frame)
    names = [name for name in styles if (table["series"] == name).any()]
    for name in names:
        ranked = table[table["series"] == name].head(top)
        axes.line(ax, ranked.assign(rank=range(1, len(ranked) + 1)), "rank", styles[name], markers=True)
    shown = min(top, heads)
    rivals = words.plural(found.quantity.best[-1])
    ax.set(
        xlabel=f"{rivals}, best first ({shown} of {heads}; context {axes.tokens(context_length)} tokens)",
        ylabel=f"{found.label}\n({found.quantity.unit})" if found.quantity.unit else found.label,
        xlim=(0.4, shown + 0.6),
    )
    if found.quantity.between[0] is not None:
        ax.set_ylim(bottom=found.quantity.between[0])
    ax.set_xticks([1, *range(5, shown + 1, 5)] if shown > 8 else range(1, shown + 1))
    axes.legend(figure, frame, names, markers=True)
    return figure


def common_length(frame: pd.DataFrame, found: TaskQuantity) -> int:
    """Return the longest context length (tokens) at which every series was measured, else the longest."""
    rows = measured(frame, found)
    seen = rows.groupby("context_length", observed=True)["series"].nunique()
    return int(seen.index[seen == seen.max()].max())


OUTCOMES = {
    "all digits right": ("#009E73", "o"),
    "first digit right": ("#E69F00", "^"),
    "wrong": ("#555555", "x"),
}
"""Colour and marker of an answer."""


def by_outcome(
    frame: pd.DataFrame,
    quantity: str | TaskQuantity | None = None,
    *,
    part: float = 0.0,
    partly: str = "first digit right",
) -> Figure:
    """Draw a quantity in each trial, of the best head, against whether the answer was right.

    As the SSMax paper (arXiv 2501.19399) does in Fig. 8. `frame` is results as from `read_results`, with the columns
    `score` and `leading_digits`; `quantity` a name such as "needle_score" (default: the first that is drawn this
    way). One panel per series; within a context length, trials stand side by side, sorted. An answer is called
    `partly` if some of its leading digits are right, and at least this `part` of them all.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "by_outcome")
    name = found.quantity.name
    if not {"score", "leading_digits"} <= set(frame):
        raise NothingMeasured(f"no answers stand beside {found.label}")
    rows = tables.best_rows(frame, found)
    some = (rows["leading_digits"] > 0) & (rows["leading_digits"] >= part)
    labels = ["all digits right", partly, "wrong"]
    outcome = np.select([rows["score"] == 1, some], labels[:2], labels[2])
    rank = rows.groupby(["series", "context_length"], observed=True)[name].rank(method="first", pct=True)
    rows = rows.assign(outcome=outcome, rank=rank)
    lengths = sorted(rows["context_length"].unique())
    styles = dict(zip(labels, OUTCOMES.values(), strict=True))
    shown = [str(series) for series in rows["series"].cat.categories if (rows["series"] == series).any()]
    wide = axes.width() / min(len(shown), 3 if axes.width() > 5 else 1)
    figure, grid = axes.panels(len(shown), max(0.55 * wide, 0.24 * axes.width()), sharex=True, sharey=True)
    for ax, series in zip(grid, shown, strict=True):
        mine = rows[rows["series"] == series]
        for label, (colour, marker) in styles.items():
            chosen = mine[mine["outcome"] == label]
            x = chosen["context_length"].map(lengths.index) + 0.8 * (chosen["rank"] - 0.5)
            ax.scatter(x, chosen[name], color=colour, marker=marker, s=axes.font("font.size") * 1.6)
        axes.title(ax, series, wide - 0.4)
        ax.set_xticks(range(len(lengths)), [axes.tokens(length) for length in lengths])
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(-0.03, 1.03) if found.quantity.between == (0.0, 1.0) else None)
        ax.tick_params(labelbottom=True)
        ax.grid(axis="x", visible=False)
    figure.supylabel(words.best(found), fontsize=axes.font("axes.labelsize"))
    axes.label_below(grid, axes.length_label("context length (tokens)"))
    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, label=label)
        for label, (colour, marker) in styles.items()
    ]
    axes.place_legend(figure, handles)
    return figure
