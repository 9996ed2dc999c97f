"""Floors and ceilings: the lengths at which a share can hardly tell two series apart.

The rule, for a share whose smallest and largest value are known (never for a loss):

- A series is at its *floor* at a length where it reaches at most 5 % of the range (`FLOOR`), and where its 95 %
  interval ends below a third (`DOUBT`): nothing found in five trials does not show a floor, in twenty it does. It is
  at its *ceiling* where all of this holds for what is missing to the best value.
- It is *clear of* the floor where its whole interval lies above those 5 %.
- A length tells little about a pair where one of the two is at the floor and the other is not clear of it. It is
  marked, and numbers over all lengths leave it out. So it is with the ceiling.
- Where one is at the floor and the other is clear of it, the difference is real, counts, and is said.

The rule is the same with the two series exchanged, so that what is left out favours neither of them. Fewer than
`statistics.FEWEST` independent units have no interval, and nothing is marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.measurement import Quantity
from ssmax_eval.report import tables
from ssmax_eval.report.quantities import TaskQuantity

FLOOR = 0.05
"""Largest part of the range that a series reaches at its floor, and smallest that it misses above its ceiling."""
DOUBT = 1 / 3
"""The 95 % interval of a series at its floor ends below this part of the range."""
BOUNDS = ("floor", "ceiling")
MIXED = "both"
"""What all lengths together are, where some are at the floor, all others at the ceiling."""


def bounded(quantity: Quantity) -> bool:
    """Whether a quantity has a floor and a ceiling: a share between known ends, with a better side."""
    known = None not in quantity.between and bool(quantity.better)
    return known and quantity.unit == "share" and quantity.pool != "prefix"


def levels(frame: pd.DataFrame, found: TaskQuantity) -> pd.DataFrame:
    """Return where each series stands: a row for each `series` and `context_length` (tokens).

    Columns: `mean`, the bound that it is `at` ("", "floor" or "ceiling"), and whether it is `clear_floor` and
    `clear_ceiling`. Without rows for a quantity that has no bounds, and where nothing was measured.
    """
    names = ["series", "context_length", "mean", "at", "clear_floor", "clear_ceiling"]
    try:
        table = tables.by_length(frame, found) if bounded(found.quantity) else pd.DataFrame(columns=names)
    except NothingMeasured:
        table = pd.DataFrame(columns=names)
    return table.assign(**standing(table, found.quantity))[names] if len(table) else table


def standing(table: pd.DataFrame, quantity: Quantity) -> dict[str, pd.Series]:
    """Return the columns `at`, `clear_floor` and `clear_ceiling` for a table with `mean`, `low` and `high`."""
    least, most = (float(end or 0.0) for end in quantity.between)
    mean, low, high = ((table[name] - least) / (most - least) for name in ("mean", "low", "high"))
    if quantity.better == "lower":
        mean, low, high = 1 - mean, 1 - high, 1 - low
    at_floor, at_ceiling = (mean <= FLOOR) & (high < DOUBT), (mean >= 1 - FLOOR) & (low > 1 - DOUBT)
    return {
        "at": pd.Series(np.select([at_floor, at_ceiling], BOUNDS, ""), table.index),
        "clear_floor": low > FLOOR,
        "clear_ceiling": high < 1 - FLOOR,
    }


def marked(where: pd.DataFrame, baseline: str, series: str) -> dict[int, str]:
    """Return the lengths that tell little about a pair, each with the bound; `where` is from `levels`."""
    found = {}
    for length, part in where[where["series"].isin([baseline, series])].groupby("context_length"):
        for bound in BOUNDS:
            if len(part) == 2 and (part["at"] == bound).any() and not part[f"clear_{bound}"].any():
                found[int(str(length))] = bound
    return found


def column(lengths: Iterable[int], marks: Mapping[int, str], together: int) -> list[str]:
    """Return the bound at each of some lengths, "" for none.

    That of `together`, which stands for all lengths, is the bound of all of them, where each is marked.
    """
    lengths = list(lengths)
    told = {marks.get(length, "") for length in lengths if length != together}
    whole = "" if "" in told or not told else told.pop() if len(told) == 1 else MIXED
    return [whole if length == together else marks.get(length, "") for length in lengths]


def hollow(ax: Axes, table: pd.DataFrame, found: TaskQuantity, looks: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw the markers of a figure by length hollow where a series is at its floor or its ceiling."""
    bound = at_bound(table, found)
    for name, look in looks.items():
        part = table[bound & (table["series"] == name)]
        ax.plot(part["context_length"], part["mean"], **{**look, "linestyle": ""}, markerfacecolor="white", zorder=3)


def says_hollow(table: pd.DataFrame, found: TaskQuantity) -> str:
    """Return the sentence of a caption about hollow markers, where there are any; else nothing."""
    return " Hollow: at the floor or the ceiling." if at_bound(table, found).any() else ""


def at_bound(table: pd.DataFrame, found: TaskQuantity) -> pd.Series:
    """Return which rows of a table with `mean`, `low` and `high` are at a bound."""
    if not bounded(found.quantity):
        return pd.Series(False, table.index)
    return standing(table, found.quantity)["at"] != ""
