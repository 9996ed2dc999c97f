"""Two series side by side: what both measured, and whether it was the very same thing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import statistics
from ssmax_eval.report.identity import agree, tokenizer_of
from ssmax_eval.report.quantities import DIGESTS, TaskQuantity, find, measured, present, rows_of
from ssmax_eval.report.series import COORDINATES, REQUIRED
from ssmax_eval.report.tables import best_rows


def matched(frame: pd.DataFrame, quantity: str | TaskQuantity | None, baseline: str, series: str) -> pd.DataFrame:
    """Return the cells of two series side by side, one row for each cell that either has.

    Columns: the coordinates and units of the cell, `value_baseline`, `value_series` (what a cell holds in rows is
    averaged; of heads, each series' best) and `match`: "both", "failed" (in one or both), "different" (not the same
    by the columns that the quantity names), "only baseline" or "only series".
    """
    found = find(frame, quantity)
    rows = rows_of(frame, found)
    rows = rows[rows["series"].isin([baseline, series])]
    cell = present(rows, [*dict.fromkeys([*COORDINATES, *found.quantity.units, "seed"])])
    # A unit that a failed cell does not know, such as the source of its text, cannot be looked for.
    cell = [name for name in cell if name in COORDINATES or rows[name].notna().all()]
    same = [name for name in _same(rows, found, baseline, series) if name not in cell]
    value = found.quantity.name
    counted = _counted(rows, found)
    values = statistics.unit_means(counted, ["series", *cell], value)
    cells = rows.drop_duplicates(["series", *cell])[["series", *cell, *same, "status"]]
    cells = cells.merge(values, how="left", on=["series", *cell])
    both = [cells.loc[cells["series"] == name].drop(columns="series") for name in (baseline, series)]
    table = both[0].merge(both[1], how="outer", on=cell, suffixes=("_baseline", "_series"), indicator=True)
    table = table.rename(columns={f"{value}_{side}": f"value_{side}" for side in ("baseline", "series")})
    failed = table[["value_baseline", "value_series"]].isna().any(axis=1)
    differs = np.zeros(len(table), bool)
    for name in same:
        # A failed trial may not have got as far as its prompt.
        ours, theirs = (table[f"{name}_{side}"].astype("object") for side in ("series", "baseline"))
        # Cells of before there were digests lack them on both sides.
        missing = (ours.isna() & theirs.isna()).to_numpy(bool)
        differs |= (ours.fillna("") != theirs.fillna("")).to_numpy(bool) & ~missing
    differs |= not comparable(rows, found, baseline, series)
    alone = table["_merge"].map({"left_only": "only baseline", "right_only": "only series", "both": ""}).astype("str")
    table["match"] = np.select([alone != "", failed, differs], [alone, "failed", "different"], "both")
    return table[[*cell, "value_baseline", "value_series", "match"]]


def digests(rows: pd.DataFrame, baseline: str, series: str) -> list[str]:
    """Return the columns with a digest of what was measured that both series have in every finished row."""
    ok = rows[rows["status"] == "ok"] if "status" in rows else rows
    sides = [ok[ok["series"] == name] for name in (baseline, series)]
    return [name for name in DIGESTS if name in rows and all(len(own) and own[name].notna().all() for own in sides)]


def comparable(rows: pd.DataFrame, found: TaskQuantity, baseline: str, series: str) -> bool:
    """Return whether equal columns mean that the same was measured.

    Where a digest of the text is stored it says so; else the identities of the runs must ask the same of the task and
    know of no other tokenizer. Nats per token mean the same for one tokenizer only.
    """
    mine, theirs = (list(map(str, rows.loc[rows["series"] == name, "run"].unique())) for name in (series, baseline))
    if "per token" in found.quantity.unit and {tokenizer_of(rows, r) for r in mine} != {
        tokenizer_of(rows, r) for r in theirs
    }:
        return False
    return bool(digests(rows, baseline, series)) or agree(rows, mine, theirs)


def _same(rows: pd.DataFrame, found: TaskQuantity, baseline: str, series: str) -> list[str]:
    """The columns that agree where two series measured the same: a digest of it, else what the quantity names."""
    return digests(rows, baseline, series) or present(rows, found.quantity.same)


def needed(frame: pd.DataFrame, found: TaskQuantity) -> pd.DataFrame:
    """Return the rows of a quantity's tasks with the columns that a comparison asks for, which are few of many."""
    quantity = found.quantity
    places = [
        "seed",
        *DIGESTS,
        *quantity.units,
        *quantity.same,
        *quantity.best,
        *(quantity.where or ()),
        *(quantity.outside or ()),
    ]
    names = {*REQUIRED, *COORDINATES, *places, "series", quantity.name}
    return rows_of(frame[[name for name in frame if name in names]], found)


def _counted(rows: pd.DataFrame, found: TaskQuantity) -> pd.DataFrame:
    """The rows that count, of each series' best head; none where every cell failed."""
    try:
        return best_rows(rows, found) if found.quantity.best else measured(rows, found)
    except NothingMeasured:
        return rows[:0].astype({found.quantity.name: "float64"})


def sides(values: pd.DataFrame, found: TaskQuantity, baseline: str, series: str) -> pd.DataFrame:
    """Return the values of units of two series side by side: `context_length`, the units, and both values.

    Units that are not the same by the columns that the quantity names stand in two rows, each with one value.
    """
    told = digests(values, baseline, series)
    # With a digest, the number of a document within its run says nothing.
    names = (
        ["context_length", "seed", "source", *told]
        if told
        else [*("context_length", "seed"), *found.quantity.units, *found.quantity.same]
    )
    unit = [name for name in dict.fromkeys(names) if name in values]
    series_of = values["series"].astype("str")
    both = [
        values.loc[series_of == name, [*unit, found.quantity.name]].rename(
            columns={found.quantity.name: f"value_{side}"}
        )
        for name, side in ((baseline, "baseline"), (series, "series"))
    ]
    return both[0].merge(both[1], how="outer", on=unit)
