"""Differences between two series in stretches of positions: what a change does near the start, and far beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import statistics
from ssmax_eval.report.matching import comparable, needed, sides
from ssmax_eval.report.pairs import pairs
from ssmax_eval.report.quantities import CLUSTER, DIGESTS, TaskQuantity, clustered, find, measured, present, units_of
from ssmax_eval.report.series import labelled


def band_differences(
    frame: pd.DataFrame,
    edges: Sequence[int],
    baseline: str | None = None,
    quantity: str | TaskQuantity | None = None,
) -> pd.DataFrame:
    """Return the difference in a quantity, such as `nll`, in stretches of positions, per pair of series.

    The stretches are positions edges[0] ... edges[1] - 1, edges[1] ... edges[2] - 1 and so on. Columns: `baseline`,
    `series`, `first` and `last` (positions), `before` and `after` (means of the two series over the documents that
    both have), `mean` (series minus baseline), `low` and `high` (paired, 95 %; NaN below five clusters), `n`
    (documents) and `units` (clusters: texts where there are several, else documents).
    Raises NothingMeasured where no document that both have reaches into any stretch, UserError as `pairs` does.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "by_position")
    name = found.quantity.name
    rows = measured(frame, found)
    band = np.searchsorted(np.asarray(edges), rows["position"].to_numpy(np.int64), side="right") - 1
    inside = (band >= 0) & (band < len(edges) - 1)
    unit = ["series", *dict.fromkeys([*units_of(rows, found), *present(rows, [*found.quantity.same, *DIGESTS])])]
    # A stretch stands where a comparison looks for the length of a context.
    values = statistics.unit_means(rows.assign(context_length=band)[inside], [*unit, "context_length"], name)
    about = needed(frame, found).drop_duplicates([*unit, "run"])
    parts = []
    for base, series in pairs(frame, baseline):
        pair = values[values["series"].isin([base, series])]
        wide = sides(pair, found, base, series).dropna(subset=["value_baseline", "value_series"])
        if wide.empty or not comparable(about, found, base, series):
            continue
        wide = clustered(wide.assign(change=wide["value_series"] - wide["value_baseline"], series=series), found)
        for number in sorted(wide["context_length"].unique().tolist()):
            own = wide[wide["context_length"] == number]
            ends = {"first": edges[number], "last": edges[number + 1] - 1}
            parts.append({"baseline": base, "series": series, **ends, **_paired(own)})
    if not parts:
        raise NothingMeasured(f"no two series have measured {found.label} on the same documents at these positions")
    return pd.DataFrame(parts)


def _paired(own: pd.DataFrame) -> dict[str, object]:
    change = own["change"].to_numpy("float64")
    low, high, _, units, _ = statistics.paired_means(change, own[CLUSTER].to_numpy("int64"))
    return {
        "before": own["value_baseline"].mean(), "after": own["value_series"].mean(),
        "mean": change.mean(), "low": low, "high": high, "n": len(own), "units": units,
    }  # fmt: skip
