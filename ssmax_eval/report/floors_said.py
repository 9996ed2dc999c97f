"""Floors and ceilings in words, for the sentences of a comparison."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ssmax_eval.report import floors, words
from ssmax_eval.report.pairs import without_shared
from ssmax_eval.report.quantities import TaskQuantity


def of_row(row: pd.Series, found: TaskQuantity, where: pd.DataFrame) -> str:
    """Say what bounds have to do with a row of `differences`; "" where they have nothing to do with it.

    `where` is from `floors.levels`.
    """
    baseline, series = str(row["baseline"]), str(row["series"])
    pair = where[where["series"].isin([baseline, series])]
    both = {int(str(n)): part.set_index("series") for n, part in pair.groupby("context_length") if len(part) == 2}
    names = without_shared(baseline, series)[1:]
    here = int(row["context_length"])
    if here:
        return _of_length(both[here].loc[[baseline, series]], names, str(row["floor"]), found) if here in both else ""
    marks = floors.marked(where, baseline, series)
    parts = [
        f"Left out: {lengths(mine)}, where {_standing([both[n] for n in mine], bound)}."
        for bound in floors.BOUNDS
        if (mine := [n for n, mark in marks.items() if mark == bound])
    ]
    telling = {n: p for n, p in both.items() if n not in marks and p.at[baseline, "at"] == "floor"}
    if telling:
        reached = words.listed(_number(float(part["mean"][series]), found) for part in telling.values())
        parts.append(f"{names[0]} is at its floor at {lengths(telling)}, where {names[1]} reaches {reached}.")
    return " ".join(parts)


def lengths(given: Iterable[int]) -> str:
    """Write lengths: "512 tokens", "512, 1,024 and 2,048 tokens"."""
    return f"{words.listed(f'{n:,}' for n in given)} tokens"


def _of_length(pair: pd.DataFrame, names: tuple[str, ...], mark: str, found: TaskQuantity) -> str:
    """Say it of one length; `pair` has the row of the baseline, then that of the series."""
    values = [_number(mean, found) for mean in pair["mean"]]
    if mark:
        told = words.listed(f"{value} with {name}" for name, value in zip(names, values, strict=True))
        return f"This length tells little, since {_standing([pair], mark)} ({told})."
    at = list(pair["at"])
    if not any(at):
        return ""
    mine = at.index("floor" if "floor" in at else "ceiling")
    return f"{names[mine]} is at its {at[mine]} ({values[mine]}); {names[1 - mine]} reaches {values[1 - mine]}."


def _standing(pairs: Iterable[pd.DataFrame], bound: str) -> str:
    if all((pair["at"] == bound).all() for pair in pairs):
        return f"both are at the {bound}"
    return f"one is at the {bound}, and the other is not clear of it"


def _number(value: float, found: TaskQuantity) -> str:
    return f"{value:.{found.quantity.digits}f}"
