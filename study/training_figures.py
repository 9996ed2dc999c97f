"""Figures of the trainings themselves: the loss by step, and the factors that were learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes
from ssmax_eval.report.series import COLOURS
from study.families import label, ordered
from study.looks import look, mark_training
from study.trained import Trained

SMOOTH = 10
"""Logged steps that a curve is averaged over."""


def training_curves(trained: Sequence[Trained]) -> Figure:
    """Draw by step the loss on text, the share of answer tokens right, and SSMax's loss minus softmax's.

    Means over the seeds of a family, with a band from the lowest to the highest seed.
    """
    families = ordered(t.family for t in trained)
    figure, grid = axes.panels(3, 0.36 * axes.width(), across=3)
    for column, ax in (("loss_text", grid[0]), ("right", grid[1])):
        for number, family in enumerate(families):
            _spread(ax, _curves(trained, family, column), number)
    change = _curves(trained, "ssmax", "loss_text") - _curves(trained, "softmax", "loss_text")
    change = change.dropna(axis="columns", how="all")
    if change.size:
        _spread(grid[2], change, families.index("ssmax"))
    grid[2].axhline(0, color="#555555", linewidth=0.8)
    grid[0].set_ylim(top=min(5.0, grid[0].get_ylim()[1]))
    grid[1].set_ylim(-0.03, 1.03)
    titles = ("loss on text (nats per token)", "answer tokens right (share)", "SSMax − softmax, text (nats)")
    for ax, title in zip(grid, titles, strict=True):
        ax.set_title(title, loc="left")
        ax.set_xlabel("training step")
    handles = [Line2D([], [], label=label(family), **_look(number)) for number, family in enumerate(families)]
    axes.place_legend(figure, handles)
    return figure


def _curves(trained: Sequence[Trained], family: str, column: str) -> pd.DataFrame:
    """Smoothed, a row per step and a column per seed."""
    curves = {t.seed: t.curve.set_index("step")[column] for t in trained if t.family == family and column in t.curve}
    return pd.DataFrame(curves).rolling(SMOOTH, min_periods=1).mean()


def _spread(ax: Axes, curves: pd.DataFrame, number: int) -> None:
    if curves.empty:
        return
    line = _look(number)
    ax.plot(curves.index, curves.mean(axis=1), **line)
    ax.fill_between(curves.index, curves.min(axis=1), curves.max(axis=1), color=line["color"], alpha=0.15, linewidth=0)


def _look(number: int) -> dict[str, Any]:
    return {**look(number), "marker": ""}


def learned_factors(trained: Sequence[Trained]) -> Figure:
    """Draw s log n + b against the number of keys n, a line for every head of every seed, a panel per family.

    Dashed is the factor that a softmax model gets when it is rewritten, log n / mean(log n) up to the training
    length; dotted is 1, which is softmax.
    """
    shown = [family for family in ordered(t.family for t in trained) if any(_of(trained, family))]
    if not shown:
        raise NothingMeasured("no checkpoint has learned a scale")
    n_train = int(trained[0].record["recipe"]["train_length"])
    n = np.geomspace(1, 32 * n_train, 200)
    figure, grid = axes.panels(len(shown), 0.4 * axes.width(), across=min(len(shown), 4), sharey=True)
    layers = 0
    for ax, family in zip(grid, shown, strict=True):
        for made in _of(trained, family):
            s = made.learned["s"]
            b = made.learned.get("b", np.zeros_like(s))
            layers = max(layers, len(s))
            for layer, head in np.ndindex(s.shape):
                colour = COLOURS[layer % len(COLOURS)]
                ax.plot(n, s[layer, head] * np.log(n) + b[layer, head], color=colour, linewidth=0.9, alpha=0.7)
        ax.plot(n, np.log(n) / np.log(np.arange(1, n_train + 1)).mean(), color="black", linestyle=(0, (5, 2)))
        ax.axhline(1, color="black", linestyle=(0, (1, 1.5)))
        axes.token_axis(ax, n)
        marked = mark_training(ax, n_train)
        count = sum(1 for _ in _of(trained, family))
        ax.set_title(f"{label(family)} ({count} seed{'s' * (count > 1)})", loc="left")
        ax.set_xlabel("keys n (tokens)")
    grid[0].set_ylabel("factor on the scores")
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=f"layer {i}, its heads") for i in range(layers)]
    handles.append(Line2D([], [], color="black", linestyle=(0, (5, 2)), label="log n / mean(log n)"))
    handles.append(Line2D([], [], color="black", linestyle=(0, (1, 1.5)), label="1 (softmax)"))
    axes.place_legend(figure, [*handles, *marked])
    return figure


def free_factors(trained: Sequence[Trained]) -> Figure:
    """Draw the factors learned for every n against n, with the nearest a₁ log n + a₂: a panel per layer, a colour per
    training.
    """
    made = {f"{label(t.family)}, seed {t.seed}": found for t in trained if (found := t.free_factors())}
    if not made:
        raise NothingMeasured("no checkpoint has learned a factor for every n")
    layers = max(len(table) for _, table in made.values())
    figure, grid = axes.panels(layers, 0.36 * axes.width(), across=layers, sharey=True)
    for layer, ax in enumerate(grid):
        for number, (n, table) in enumerate(made.values()):
            colour = COLOURS[number % len(COLOURS)]
            slope, constant = np.polyfit(np.log(n), table[layer], 1)
            ax.plot(n, table[layer], ".", color=colour, markersize=3, alpha=0.7)
            ax.plot(n, slope * np.log(n) + constant, color=colour, linewidth=1.0)
        axes.token_axis(ax, n)
        ax.set_title(f"layer {layer}", loc="left")
        ax.set_xlabel("keys n (tokens)")
    grid[0].set_ylabel("factor on the scores")
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], marker=".", label=name) for i, name in enumerate(made)]
    axes.place_legend(figure, handles)
    return figure


def _of(trained: Sequence[Trained], family: str) -> list[Trained]:
    return [t for t in trained if t.family == family and "s" in t.learned]
