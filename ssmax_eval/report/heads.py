"""What single heads do with the needle."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssmax_eval.report import axes, tables
from ssmax_eval.report.series import labelled, looks


def needle_by_head(frame: pd.DataFrame, *, top: int = 25, context_length: int | None = None) -> Figure:
    """Draw the needle scores of each series' heads, best first (SSMax paper, arXiv 2501.19399, Fig. 7).

    `frame` is results with rows of task `key_attention`. Shows the `top` heads at one `context_length`
    (tokens; default: the longest that every series was measured at, else the longest), with the 95 % band
    over cells.
    """
    frame = labelled(frame)
    if context_length is None:
        context_length = common_length(frame)
    table = tables.needle_by_head(frame, context_length)
    heads = table.groupby("series", observed=True).size().max()
    figure, ax = axes.single(0.38)
    styles = looks(frame)
    names = [name for name in styles if (table["series"] == name).any()]
    for name in names:
        ranked = table[table["series"] == name].head(top)
        axes.line(ax, ranked.assign(rank=range(1, len(ranked) + 1)), "rank", styles[name], markers=True)
    shown = min(top, heads)
    ax.set(
        xlabel=f"heads, best first ({shown} of {heads}; context {axes.tokens(context_length)} tokens)",
        ylabel="needle score\n(attention weight on the digits)",
        xlim=(0.4, shown + 0.6),
        ylim=(0, None),
    )
    ax.set_xticks([1, *range(5, shown + 1, 5)] if shown > 8 else range(1, shown + 1))
    axes.legend(figure, frame, names, markers=True)
    return figure


def common_length(frame: pd.DataFrame) -> int:
    """Return the longest context length (tokens) that every series has needle scores at, else the longest."""
    rows = tables.needle_scores(frame)
    seen = rows.groupby("context_length", observed=True)["series"].nunique()
    return int(seen.index[seen == seen.max()].max())


OUTCOMES = {
    "all digits right": ("#009E73", "o"),
    "first digit right": ("#E69F00", "^"),
    "wrong": ("#555555", "x"),
}
"""Colour and marker of an answer."""


def needle_by_outcome(frame: pd.DataFrame, *, part: float = 0.0, partly: str = "first digit right") -> Figure:
    """Draw the best head's needle score in each trial against whether the answer was right.

    As the SSMax paper (arXiv 2501.19399) does in Fig. 8. `frame` is results with rows of task
    `key_attention`, with `score` and `leading_digits`. One panel per series; within a context length, trials
    stand side by side, sorted by needle score. An answer is called `partly` if some of its leading digits are
    right, and at least this `part` of them all.
    """
    frame = labelled(frame)
    rows = tables.best_heads(frame)
    some = (rows["leading_digits"] > 0) & (rows["leading_digits"] >= part)
    labels = ["all digits right", partly, "wrong"]
    outcome = np.select([rows["score"] == 1, some], labels[:2], labels[2])
    rank = rows.groupby(["series", "context_length"], observed=True)["needle_score"].rank(method="first", pct=True)
    rows = rows.assign(outcome=outcome, rank=rank)
    lengths = sorted(rows["context_length"].unique())
    styles = dict(zip(labels, OUTCOMES.values(), strict=True))
    names = [str(name) for name in rows["series"].cat.categories if (rows["series"] == name).any()]
    wide = axes.width() / min(len(names), 3 if axes.width() > 5 else 1)
    figure, grid = axes.panels(len(names), max(0.55 * wide, 0.24 * axes.width()), sharex=True, sharey=True)
    for ax, name in zip(grid, names, strict=True):
        mine = rows[rows["series"] == name]
        for label, (colour, marker) in styles.items():
            chosen = mine[mine["outcome"] == label]
            x = chosen["context_length"].map(lengths.index) + 0.8 * (chosen["rank"] - 0.5)
            ax.scatter(x, chosen["needle_score"], color=colour, marker=marker, s=axes.font("font.size") * 1.6)
        axes.title(ax, name, wide - 0.4)
        ax.set_xticks(range(len(lengths)), [axes.tokens(length) for length in lengths])
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(-0.03, 1.03))
        ax.tick_params(labelbottom=True)
        ax.grid(axis="x", visible=False)
    figure.supylabel("needle score of the best head", fontsize=axes.font("axes.labelsize"))
    axes.label_below(grid, "context length (tokens)")
    handles = [
        Line2D([], [], linestyle="", color=colour, marker=marker, label=label)
        for label, (colour, marker) in styles.items()
    ]
    axes.place_legend(figure, handles)
    return figure
