"""Means over the first tokens: what a loss is for a context of some length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import statistics
from ssmax_eval.report.quantities import CLUSTER, DIGESTS, TaskQuantity, clustered, find, measured, present, units_of


def prefix_means(
    frame: pd.DataFrame, quantity: str | TaskQuantity | None = None, lengths: Sequence[int] | None = None
) -> pd.DataFrame:
    """Return the mean of a quantity over the first L tokens of each unit (document) that has as many.

    One row per `series`, unit and `context_length` L, under the quantity's own name. `lengths` are the wanted L
    (default: powers of two from 128, and the lengths that were run where they are few). The first token of a document
    is predicted from nothing, so that positions count from 1 and L tokens have L − 1 values. A document that was run
    at several lengths gives each L from the shortest that reaches it, so a model whose loss depends on the length it
    is run at gets its own. Raises NothingMeasured if no document is long enough.
    """
    found = find(frame, quantity, "by_position")
    name = found.quantity.name
    rows = measured(frame, found)
    if not present(rows, ["position"]):
        raise NothingMeasured(f"{found.label} has no positions to average over")
    # What must be the same in a comparison is the same within a unit.
    same = [*found.quantity.same, *DIGESTS]
    unit = ["series", *dict.fromkeys([*units_of(rows, found), *present(rows, same)])]
    key = [*unit, "context_length"]
    rows = rows[[*key, "position", name]]
    first = int(rows["position"].min() > 0)
    wanted = np.unique(np.asarray(_lengths(rows["context_length"]) if lengths is None else lengths, np.int64))
    # One pass: sums between one wanted length and the next, then added up along the lengths.
    stretch = np.searchsorted(wanted, rows["position"].to_numpy(), side="right")
    parts = rows.groupby([*key, stretch], observed=True, dropna=False)[name].agg(["sum", "count"])
    total, count = (parts[x].unstack().reindex(columns=range(len(wanted))).fillna(0).cumsum(axis=1) for x in parts)
    means = (total / count).where(count == wanted - first).set_axis(wanted, axis="columns")
    table = means.melt(var_name="length", value_name=name, ignore_index=False).dropna().reset_index()
    table = table.sort_values([*unit, "length", "context_length"]).drop_duplicates([*unit, "length"])
    if table.empty:
        longest = rows["context_length"].max()
        raise NothingMeasured(f"no document has {wanted[0]:,} measured tokens; the longest has {longest:,.0f}")
    return table.drop(columns="context_length").rename(columns={"length": "context_length"}).reset_index(drop=True)


def _lengths(run_at: pd.Series) -> list[int]:
    longest, few = int(run_at.max()), run_at.unique() if run_at.nunique() <= 6 else [run_at.max()]
    return sorted({*(2**k for k in range(7, longest.bit_length())), *map(int, few)})


def of_prefixes(frame: pd.DataFrame, found: TaskQuantity, lengths: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the mean over the first L tokens per `series` and `context_length` L, over what is independent."""
    values = clustered(prefix_means(frame, found, lengths), found)
    by, name = ["series", "context_length"], found.quantity.name
    table = statistics.means(values, by, name, cluster=[CLUSTER], between=found.quantity.between)
    return table.assign(perplexity=np.exp(table["mean"])) if "perplexity" in found.quantity.views else table
