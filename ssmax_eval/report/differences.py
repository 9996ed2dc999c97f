"""Differences where two series measured the very same thing, with what they rest on.

A difference is always *series minus baseline*. What only one of the two has measured is counted and said, never
silently dropped.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import floors, statistics
from ssmax_eval.report.matching import comparable, matched, needed, sides
from ssmax_eval.report.pairs import pairs
from ssmax_eval.report.prefixes import prefix_means
from ssmax_eval.report.quantities import (
    CLUSTER,
    TaskQuantity,
    cluster_names,
    clustered,
    declared,
    find,
)
from ssmax_eval.report.series import COORDINATES, labelled

ALL = 0
"""Stands for all context lengths together."""
COLUMNS = [
    *("baseline", "series", "quantity", "context_length", "mean", "low", "high", "n", "method", "p"),
    *("gained", "lost", "unmatched", "units", "unit", "floor"),
]


def differences(
    frame: pd.DataFrame, baseline: str | None = None, quantity: str | TaskQuantity | None = None
) -> pd.DataFrame:
    """Return the difference in one quantity, per pair of series and `context_length` (tokens; 0 for all together).

    Columns: `baseline`, `series`, `quantity`, `context_length`, `mean` (series minus baseline, in the quantity's
    unit), `low` and `high` (paired, 95 %, by `method`; NaN below five units), `n` (cells or documents that both
    measured alike), `p` (exact sign test over units, for shares), `gained` and `lost` (found by only one of the two,
    for shares), `unmatched` (left out: failed, not the same, or measured by one alone), `units` (independent ones),
    `unit` (what they are) and `floor` ("floor" or "ceiling" where a length tells little, see `floors`; all together
    leaves it out). A prefix quantity has a row for every L, and none for all together.
    Raises NothingMeasured where no two series measured it, UserError as `pairs` does.
    """
    frame = labelled(frame)
    return _of_pairs(frame, pairs(frame, baseline), find(frame, quantity))


def _of_pairs(frame: pd.DataFrame, couples: list[tuple[str, str]], found: TaskQuantity) -> pd.DataFrame:
    about = needed(frame, found)
    values = prefix_means(frame, found) if found.quantity.pool == "prefix" else None
    rows = about if values is None else values
    if values is not None:
        about = about.drop_duplicates([name for name in about if name != found.quantity.name])
    held = set(rows["series"].astype("str"))
    where = floors.levels(rows, found)
    parts = []
    for base, name in couples:
        if {base, name} <= held:
            pair = rows[rows["series"].isin([base, name])]
            marks = floors.marked(where, base, name)
            if values is None:
                of_pair = _of_cells(pair, found, base, name, marks)
            else:
                same = comparable(about, found, base, name)
                of_pair = _of_prefixes(found, pair, base, name, same=same)
            told = " or ".join(cluster_names(about[about["series"].isin([base, name])], found))
            marks_of = floors.column(of_pair["context_length"], marks, ALL)
            parts.append(of_pair.assign(baseline=base, series=name, quantity=found.label, unit=told, floor=marks_of))
    if not parts:
        raise NothingMeasured(f"no two series to compare have both measured {found.label}")
    return pd.concat(parts, ignore_index=True).reindex(columns=COLUMNS)


def all_differences(frame: pd.DataFrame, baseline: str | None = None, *, every: bool = False) -> pd.DataFrame:
    """Return `differences` of all summarised quantities, one after the other, or of `every` one with a better side.

    Raises NothingMeasured where no two series measured the same quantity.
    """
    frame = labelled(frame)
    couples, parts = pairs(frame, baseline), []
    for found in compared(frame, every=every):
        try:
            parts.append(_of_pairs(frame, couples, found))
        except NothingMeasured:
            continue
    if not parts:
        raise NothingMeasured("no two series to compare have measured the same quantity")
    return pd.concat(parts, ignore_index=True)


def compared(frame: pd.DataFrame, *, every: bool = False) -> list[TaskQuantity]:
    """Return the quantities that are compared: the summarised ones, or `every` one that has a better side as well."""
    return [found for found in declared(frame) if found.summarised or (every and found.quantity.better)]


def _of_cells(
    frame: pd.DataFrame, found: TaskQuantity, base: str, name: str, marks: Collection[int] = ()
) -> pd.DataFrame:
    cells = matched(frame, found, base, name)
    cells["change"] = (cells["value_series"] - cells["value_baseline"]).where(cells["match"] == "both")
    telling = cells[~cells["context_length"].isin(marks)]
    both = pd.concat([telling.assign(context_length=ALL), cells])
    # A unit of all lengths together is one at one length.
    both["length"] = pd.concat([telling["context_length"], cells["context_length"]]).to_numpy()
    known = cells["change"].dropna()
    share = found.quantity.pool == "share" and bool(known.between(-1, 1).all())
    whole = bool(known.isin([-1, 0, 1]).all())
    # The clusters are those of the pair: seeds, trials of one length, or texts.
    both = clustered(both.assign(series=name, context_length=both["length"]), found).assign(
        context_length=both["context_length"].to_numpy()
    )
    rows = []
    for length in [ALL, *sorted(cells["context_length"].unique())]:
        part = both[both["context_length"] == length]
        rows.append({"context_length": int(length), **(_share(part, whole) if share else _mean(part, found))})
    return pd.DataFrame(rows)


def _share(cells: pd.DataFrame, whole: bool) -> dict[str, object]:
    """What one length shows of a share; what only one of the two found is counted where answers are right or wrong."""
    known = cells.dropna(subset="change")
    change = known["change"]
    n = len(change)
    counts = {"gained": int((change > 0).sum()), "lost": int((change < 0).sum())} if whole else {}
    found = statistics.paired_shares(change.to_numpy("float64"), known[CLUSTER].to_numpy("int64"))
    return {
        "mean": change.mean(),
        "low": found.low,
        "high": found.high,
        "n": n,
        "method": found.method,
        "p": found.p,
        **counts,
        "unmatched": len(cells) - n,
        "units": found.units,
    }


def _mean(cells: pd.DataFrame, found: TaskQuantity) -> dict[str, object]:
    names = [name for name in ("seed", *found.quantity.units) if name in cells]
    unit = ["length", *(names or [name for name in COORDINATES[1:] if name in cells])]
    known = cells.dropna(subset="change").groupby([*unit, CLUSTER], dropna=False)["change"].mean().reset_index()
    unmatched = len(cells[unit].drop_duplicates()) - len(known)
    return _paired(known, unmatched)


def _of_prefixes(found: TaskQuantity, values: pd.DataFrame, base: str, name: str, *, same: bool) -> pd.DataFrame:
    wide = sides(values, found, base, name)
    change = (wide["value_series"] - wide["value_baseline"]) * (1.0 if same else np.nan)
    wide = clustered(wide.assign(change=change, series=name), found)
    rows = []
    for length, part in wide.groupby("context_length"):
        known = part.dropna(subset="change")
        rows.append({"context_length": length, **_paired(known, len(part) - len(known))})
    return pd.DataFrame(rows)


def _paired(known: pd.DataFrame, unmatched: int) -> dict[str, object]:
    values = known["change"].to_numpy("float64")
    low, high, method, units, _ = statistics.paired_means(values, known[CLUSTER].to_numpy("int64"))
    mean = values.mean() if values.size else np.nan
    return {
        "mean": mean, "low": low, "high": high, "n": values.size, "method": method, "unmatched": unmatched,
        "units": units,
    }  # fmt: skip
