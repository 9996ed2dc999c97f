"""Figures of the weight that heads put on the needle, after the SSMax paper (arXiv 2501.19399), Fig. 7 and 8.

All take rows as from `rows.of_families`, and draw the main families with RoPE base × 50. They raise NothingMeasured
where there is nothing to draw.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssmax_eval.report import axes
from study import tables
from study.families import RAISED, listed
from study.figures import chosen
from study.looks import handles, looks, multiple

OUTCOMES = {
    "all digits right": ("#009E73", "o"),
    "first pair of digits right": ("#E69F00", "^"),
    "wrong": ("#555555", "x"),
}
"""Colour and marker of an answer. A pair of digits is one token."""
PAIR = 0.5
"""Share of the digits of a number that its first pair has."""


def needle_by_head(rows: pd.DataFrame, times: int = 8) -> Figure:
    """Draw the needle scores of the heads, best first, at `times` the training length.

    The heads of each seed are ranked by themselves.
    """
    kept = rows[rows["context_length"] == times * rows["train_length"]]
    part = chosen(kept, "key_attention", families=listed().main, rope=RAISED)
    table = tables.weight_by_head(part)
    count = int(table["head"].max()) + 1
    figure, ax = axes.single(0.38)
    for name, look in looks(part).items():
        mine = table[table["series"] == name]
        axes.line(ax, mine.assign(rank=mine["head"] + 1), "rank", look, markers=True)
    length = axes.tokens(float(part["context_length"].iloc[0]))
    ax.set(
        xlabel=f"heads, best first ({count} of {count}; context {length} tokens)",
        ylabel="needle score\n(attention weight on the digits)",
        xlim=(0.4, count + 0.6),
        ylim=(0, None),
    )
    ax.set_xticks([1, *range(5, count + 1, 5)] if count > 8 else range(1, count + 1))
    axes.place_legend(figure, handles(part, table["series"], markers=True))
    return figure


def needle_by_outcome(rows: pd.DataFrame) -> Figure:
    """Draw the best head's needle score in each trial, and whether the answer was right.

    A panel for each family; at each context length the trials stand side by side, sorted by needle score.
    """
    part = chosen(rows, "key_attention", families=listed().main, rope=RAISED)
    best = tables.answering(part)
    best = best[best["head"] == 0]
    right = [best["score"] == 1, best["leading_digits"] >= PAIR]
    rank = best.groupby(["series", "context_length"], observed=True)["needle_score"].rank(method="first", pct=True)
    best = best.assign(outcome=np.select(right, list(OUTCOMES)[:2], "wrong"), rank=rank)
    names, lengths = list(looks(part)), sorted(best["context_length"].unique())
    figure, grid = axes.panels(len(names), 0.24 * axes.width(), sharex=True, sharey=True)
    for ax, name in zip(grid, names, strict=True):
        for outcome, (colour, marker) in OUTCOMES.items():
            mine = best[(best["series"] == name) & (best["outcome"] == outcome)]
            x = mine["context_length"].map(lengths.index) + 0.8 * (mine["rank"] - 0.5)
            ax.scatter(x, mine["needle_score"], color=colour, marker=marker, s=axes.font("font.size") * 1.6)
        ax.set_title(name, loc="left")
        trained = float(part["train_length"].iloc[0])
        ax.set_xticks(range(len(lengths)), [multiple(length, trained) for length in lengths])
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=(-0.03, 1.03), xlabel="context length (× training)")
        ax.tick_params(labelbottom=True)
        ax.grid(axis="x", visible=False)
    figure.supylabel("needle score of the best head", fontsize=axes.font("axes.labelsize"))
    axes.place_legend(
        figure,
        [
            Line2D([], [], linestyle="", color=colour, marker=marker, label=outcome)
            for outcome, (colour, marker) in OUTCOMES.items()
        ],
    )
    return figure
