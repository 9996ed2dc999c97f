"""How a quantity is named on axes, in captions and in sentences."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ssmax_eval.report.quantities import TaskQuantity, cluster_names, present
from ssmax_eval.report.series import labelled
from ssmax_eval.report.statistics import FEWEST

MANY = 6
"""More depths than this are not listed one by one."""


def axis(found: TaskQuantity) -> str:
    """Name a quantity with its unit: "loss (nats per token)", "needles found (share)"."""
    unit = found.quantity.unit
    return f"{best(found)} ({unit})" if unit else best(found)


def best(found: TaskQuantity) -> str:
    """Name a quantity; of rows that compete, by the winner: "needle score of the best head"."""
    rivals = found.quantity.best
    return f"{found.label} of the best {rivals[-1]}" if rivals else found.label


def capital(text: str) -> str:
    """Write the first letter of a sentence large, and leave the rest."""
    return text[:1].upper() + text[1:]


def plural(word: str) -> str:
    """Return the plural of the name of a unit: trials, documents, stories."""
    word = word.replace("_", " ")
    return f"{word[:-1]}ies" if word.endswith("y") and word[-2:-1] not in "aeiou" else f"{word}s"


def listed(parts: Iterable[str]) -> str:
    """Write a list in words: "a", "a and b", "a, b and c"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def unit(found: TaskQuantity) -> str:
    """Return what one independent repetition of a quantity is called: trial, document."""
    return found.quantity.units[-1] if found.quantity.units else "cell"


def units(frame: pd.DataFrame, found: TaskQuantity) -> str:
    """Return what intervals are over, in the plural: trials, texts, seeds."""
    return " or ".join(plural(name) for name in cluster_names(labelled(frame), found))


def interval(frame: pd.DataFrame, found: TaskQuantity) -> str:
    """Say what kind of interval a quantity has: "95 % interval over trials (none below 5 trials)"."""
    over = units(frame, found)
    return f"95 % interval over {over} (none below {FEWEST})"


def choice(found: TaskQuantity) -> str:
    """Say in the sentence of a caption how the best of rows that compete is chosen; nothing where none do."""
    if not found.quantity.best:
        return ""
    rival = found.quantity.best[-1].replace("_", " ")
    return (
        f" The best {rival} of a {unit(found)} is that of the other {plural(unit(found))}, so that luck is not "
        f"rewarded; where {plural(rival)} are nearly equal, this is a little below what the best one reaches."
    )


def asked(frame: pd.DataFrame, found: TaskQuantity) -> str:
    """Say in the sentence of a caption at which depths answers were asked for; nothing where there are no depths."""
    rows = frame[frame["task"].isin(found.tasks)]
    if not present(rows, ["depth"]):
        return ""
    depths = [f"{100 * depth:.3g}" for depth in sorted(rows["depth"].dropna().unique())]
    if len(depths) > MANY:
        return f" Asked at {len(depths)} depths, from {depths[0]} to {depths[-1]} %, and at no others."
    listed = f"{', '.join(depths[:-1])} and {depths[-1]}" if depths[1:] else depths[0]
    return f" Asked at {'depths' if depths[1:] else 'a depth'} of {listed} % only."


def by_length(frame: pd.DataFrame, found: TaskQuantity) -> str:
    """Caption what `tables.by_length` gives."""
    if found.quantity.pool == "prefix":
        what = f"Mean {found.label} over the first tokens of each {unit(found)}{_unit(found)}"
    elif found.quantity.pool == "share":
        what = f"Share of {plural(unit(found))}: {found.label}, by context length{_depths(frame, found)}"
    else:
        what = f"{capital(best(found))} by context length{_depths(frame, found)}{_unit(found)}"
    return f"{what}, with the {interval(frame, found)}.{choice(found)}"


def headline(frame: pd.DataFrame, found: TaskQuantity) -> str:
    """Say what the numbers of a summary are, with unit and interval."""
    what = best(found) + " over the first tokens" * (found.quantity.pool == "prefix")
    if found.quantity.pool == "share":
        inside = f"share of {plural(unit(found))}{_depths(frame, found)}; 95 % over {units(frame, found)}"
    else:
        inside = f"{found.quantity.unit}; " * bool(found.quantity.unit) + f"95 % over {units(frame, found)}"
    return f"{capital(what)} ({inside})"


def signed(value: float, digits: int) -> str:
    """Write a number with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _unit(found: TaskQuantity) -> str:
    return f", in {found.quantity.unit}" if found.quantity.unit else ""


def _depths(frame: pd.DataFrame, found: TaskQuantity) -> str:
    rows = frame[frame["task"].isin(found.tasks)]
    return ", all depths" if present(rows, ["depth"]) else ""
