"""The numbers of a report: results in, tidy tables out, each value with its interval.

Every function takes the frame of `read_results` and a quantity: its name, or what `quantities.find` gives, or nothing
for the first that is shown this way. Every table has the column `series` (see `series.labelled`) and, for each value,
`mean`, `low` and `high` (95 %), `n` (the values behind it) and `units`: the independent ones among them, which the
interval is over. Fewer than five units have no interval.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.report import statistics
from ssmax_eval.report.heads_chosen import best_rows as best_rows
from ssmax_eval.report.heads_chosen import ranked
from ssmax_eval.report.prefixes import of_prefixes
from ssmax_eval.report.prefixes import prefix_means as prefix_means
from ssmax_eval.report.quantities import (
    CLUSTER,
    TaskQuantity,
    beside,
    clustered,
    find,
    measured,
    present,
    rows_of,
    units_of,
)
from ssmax_eval.report.series import labelled
from ssmax_eval.report.statistics import Scale

Wanted = str | TaskQuantity | None
"""A quantity by its name, or as `quantities.find` gives it; None: the first that is shown this way."""


def by_length(frame: pd.DataFrame, quantity: Wanted = None, lengths: Sequence[int] | None = None) -> pd.DataFrame:
    """Return a quantity per `series` and `context_length` (tokens), all depths pooled.

    A share has Wilson's interval and a mean Student's, both over `units` (see `quantities.clustered`). Of rows that
    compete, such as heads, the best counts (see `best_rows`), and the best of all cells is named.
    `failed` counts cells that broke off, which are no misses and not in `n`. A prefix quantity, such as a loss, is
    the mean over the first L positions for every L of `lengths` (see `prefix_means`), with `perplexity` where it is
    in nats.
    """
    found = find(frame, quantity)
    if found.quantity.pool == "prefix":
        return of_prefixes(frame, found, lengths)
    return _pooled(frame, found, ["series", "context_length"])


def by_depth(frame: pd.DataFrame, quantity: Wanted = None) -> pd.DataFrame:
    """Return a quantity per `series`, `context_length` (tokens) and `depth` (0 start … 1 end); as `by_length`."""
    found = find(frame, quantity, "heatmap")
    if not present(rows_of(frame, found), ["depth"]):
        raise NothingMeasured(f"{found.label} has no depths")
    return _pooled(frame, found, ["series", "context_length", "depth"], single=True)


def together(rows: pd.DataFrame, quantity: Wanted = None) -> tuple[float, float, float]:
    """Return the mean of one series over all its lengths, and its limits."""
    found = find(rows, quantity)
    values = statistics.unit_means(
        measured(rows, found),
        list(dict.fromkeys(["series", "context_length", *units_of(rows, found)])),
        found.quantity.name,
    )
    values, name = clustered(values, found).astype({"series": "str"}), found.quantity.name
    average = statistics.proportions if _is_share(values[name], found) else statistics.means
    table = average(values, ["series"], name, cluster=[CLUSTER])
    mean, low, high = table[["mean", "low", "high"]].iloc[0]
    return float(mean), float(low), float(high)


def _pooled(frame: pd.DataFrame, found: TaskQuantity, by: list[str], *, single: bool = False) -> pd.DataFrame:
    everything, name = rows_of(frame, found), found.quantity.name
    ok = everything["status"] == "ok"
    chosen = best_rows(frame, found) if ok.any() else everything[ok]
    values = _values(everything, chosen, found, by)
    if _is_share(values[name], found):
        # The trials of one length and depth are independent; those of several seeds are not.
        alone = single and "seed" not in values and values[name].isin([0.0, 1.0]).all()
        table = statistics.proportions(values, by, name, cluster=[] if alone else [CLUSTER])
    else:
        table = statistics.means(values, by, name, cluster=[CLUSTER], between=found.quantity.between)
    # Failed cells carry no value, so they make a group with n = 0 rather than vanish.
    cells = everything.assign(failed=~ok).groupby(by, observed=True)
    columns = {other: (other, "mean") for other in beside(frame, found)}
    table = table.merge(cells.agg(**columns, failed=("failed", "sum")).reset_index(), on=by, how="right")
    counts = {count: table[count].fillna(0).astype("int64") for count in ("n", "units")}
    table = table.assign(**counts).sort_values(by, ignore_index=True)
    if present(chosen, list(found.quantity.best)) and "seed" not in chosen:
        heads = by_head(frame, found).drop_duplicates("series")[["series", *found.quantity.best]]
        table = table.merge(heads, on="series", how="left")
    return table


def _values(everything: pd.DataFrame, chosen: pd.DataFrame, found: TaskQuantity, by: list[str]) -> pd.DataFrame:
    """One value for every unit in every group, with its cluster."""
    name = found.quantity.name
    values = statistics.unit_means(chosen, list(dict.fromkeys([*by, *units_of(everything, found)])), name)
    return clustered(values.dropna(subset=name), found)


def few_by_length(frame: pd.DataFrame, quantity: Wanted = None, lengths: Sequence[int] | None = None) -> pd.DataFrame:
    """Return every independent unit (`series`, `context_length`, `mean`) where they are too few for an interval."""
    found = find(frame, quantity)
    by = ["series", "context_length"]
    if found.quantity.pool == "prefix":
        values = clustered(prefix_means(frame, found, lengths), found)
    else:
        values = _values(rows_of(frame, found), best_rows(frame, found), found, by)
    return statistics.few_units(values, by, found.quantity.name, CLUSTER)


def few_by_position(
    frame: pd.DataFrame, quantity: Wanted = None, *, bins: int | None = None, scale: Scale = "log"
) -> pd.DataFrame:
    """Return every independent unit (`series`, `position`, `mean`) where they are too few for an interval."""
    found = find(frame, quantity, "by_position")
    units = _by_bins(frame, found, [], bins, scale)
    return statistics.few_units(units, ["series", "position"], found.quantity.name, CLUSTER)


def _is_share(values: pd.Series, found: TaskQuantity) -> bool:
    """Whether Wilson's interval suits these values: shares of a whole, be they 0 and 1 or between."""
    return found.quantity.pool == "share" and bool(values.between(0.0, 1.0).all())


def by_position(
    frame: pd.DataFrame,
    quantity: Wanted = None,
    *,
    by: Sequence[str] = (),
    bins: int | None = None,
    scale: Scale = "log",
) -> pd.DataFrame:
    """Return a quantity per `series` and `position` (tokens): `mean`, `low`, `high`, `n` units.

    Smoothing: positions are cut into `bins` bins (default: 64 for a prefix quantity, else 24), evenly spaced on the
    given scale; each unit is averaged within a bin first, and mean and Student's interval are over units. A unit of
    a prefix quantity is a document, at whatever length it was run; of any other it is a cell, and what a cell holds
    at a position, such as layers and heads, is averaged, unless `by` names it.
    """
    found = find(frame, quantity, "by_position")
    units, name = _by_bins(frame, found, by, bins, scale), found.quantity.name
    return statistics.means(units, ["series", *by, "position"], name, cluster=[CLUSTER], between=found.quantity.between)


def _by_bins(
    frame: pd.DataFrame, found: TaskQuantity, by: Sequence[str], bins: int | None, scale: Scale
) -> pd.DataFrame:
    """The mean of every unit in every bin of positions, with its cluster."""
    name, prefix = found.quantity.name, found.quantity.pool == "prefix"
    rows = measured(frame, found)
    if not present(rows, ["position"]):
        raise NothingMeasured(f"{found.label} has no positions")
    rows = rows[rows["position"].notna()]
    # Bins begin at 1: rows of attention are counted from 0, predicted tokens from 1.
    first = 1 if not prefix or rows["position"].min() < 1 else 0
    edges = statistics.bin_edges(int(rows["position"].max()) + first, bins or (64 if prefix else 24), scale)
    rows = rows.assign(position=statistics.in_bins(rows["position"] + first, edges, scale))
    cell = [] if prefix else ["context_length"]
    unit = ["series", *by, *cell, *units_of(rows, found), "position"]
    return clustered(statistics.unit_means(rows, list(dict.fromkeys(unit)), name), found)


def by_head(frame: pd.DataFrame, quantity: Wanted = None, context_length: int | None = None) -> pd.DataFrame:
    """Return a quantity per `series` and each of the rows that compete (`layer` and `head`), best first.

    `n` counts cells. The heads of different seeds have nothing to do with each other: where seeds are pooled, `head` is
    the rank of a head within its checkpoint, and `layer` is 0. `context_length` (tokens) keeps one length; by
    default all lengths are averaged. Raises UserError
    for a length that was not measured.
    """
    found = find(frame, quantity, "by_head")
    rows = measured(frame, found)
    if context_length is not None:
        rows = rows[rows["context_length"] == context_length]
        if rows.empty:
            raise UserError(f"no {found.label} at context length {context_length}")
    heads = present(rows, list(found.quantity.best))
    if not heads:
        raise NothingMeasured(f"{found.label} has no {' and '.join(found.quantity.best) or 'layer and head'}")
    rows = ranked(rows, found)
    cell = [*dict.fromkeys(["context_length", *units_of(rows, found)])]
    units = clustered(statistics.unit_means(rows, ["series", *heads, *cell], found.quantity.name), found)
    by = ["series", *heads]
    table = statistics.means(units, by, found.quantity.name, cluster=[CLUSTER], between=found.quantity.between)
    table = table.astype(dict.fromkeys(heads, "int64"))
    order = [True, found.quantity.better == "lower"]
    return table.sort_values(["series", "mean"], ascending=order, ignore_index=True)


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how many cells of each `series` and `task` failed, with the commonest `error`; may be empty."""
    failed = labelled(frame)
    failed = failed[failed["status"] == "failed"]
    errors = failed["error"].astype("object").where(failed["error"].notna(), "unknown")
    table = failed.assign(error=errors).groupby(["series", "task"], observed=True)["error"]
    return table.agg(failed="count", error=lambda texts: texts.mode().iloc[0]).reset_index()
