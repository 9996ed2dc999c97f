"""The numbers of a report: results in, tidy tables out, each value with its interval.

Every table has the column `series` (see `series.labelled`) and, for each value, `mean`, `low` and `high`
(95 %) and `n`, the number of independent units behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report import statistics
from ssmax_eval.report.series import labelled, measured, of_task
from ssmax_eval.report.statistics import Scale

UNIT = ["series", "source", "document"]
"""What one document is: prefixes of the same text are not independent of it."""
MOST = {"max_weight": 1.0, "first_weight": 1.0, "needle_score": 1.0}
"""The largest possible value of what is bounded."""


def retrieval_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Return needle retrieval per `series`, `context_length` (tokens) and `depth` (0 start … 1 end).

    `mean` is the share of trials in which the number was found, with Wilson's interval over `n` trials;
    `leading_digits` (share of leading digits) and `logprob` (nats per answer token) are means; `failed`
    counts trials that broke off, which are no misses and not in `n`.
    """
    return _retrieval(frame, ["series", "context_length", "depth"])


def retrieval_by_length(frame: pd.DataFrame) -> pd.DataFrame:
    """Return needle retrieval per `series` and `context_length`, all depths pooled; as `retrieval_cells`."""
    return _retrieval(frame, ["series", "context_length"])


def _retrieval(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    rows = of_task(frame, "niah")
    ok = rows["status"] == "ok"
    # Failed trials carry no score, so they make a group with n = 0 rather than vanish.
    table = statistics.proportions(rows.assign(score=rows["score"].where(ok)), by, "score")
    others = rows.assign(failed=~ok).groupby(by, observed=True)
    columns = {name: (name, "mean") for name in ("leading_digits", "logprob") if name in rows}
    return table.merge(others.agg(**columns, failed=("failed", "sum")).reset_index(), on=by)


def loss_by_position(frame: pd.DataFrame, *, bins: int = 64, scale: Scale = "log") -> pd.DataFrame:
    """Return the loss (nats) per `series` and `position` (tokens): `mean`, `low`, `high`, `n` documents.

    Smoothing: positions are cut into `bins` bins, evenly spaced on the given scale; each document is
    averaged within a bin first, and mean and Student's interval are over documents.
    """
    rows = measured(frame, "loss")
    edges = statistics.bin_edges(int(rows["position"].max()), bins, scale)
    rows = rows.assign(position=statistics.in_bins(rows["position"], edges, scale))
    units = statistics.unit_means(rows, [*_present(rows, UNIT), "position"], "nll")
    return statistics.means(units, ["series", "position"], "nll")


def document_losses(frame: pd.DataFrame, lengths: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the mean loss (`nll`, nats) over the first L tokens of each document that has as many.

    One row per `series`, `source`, `document` and `context_length` L. `lengths` are the wanted L (default:
    powers of two from 128, and the lengths that were run where they are few). A document that was run at
    several lengths gives each L from the shortest that reaches it, so a model whose loss depends on the
    length it is run at gets its own. Raises UserError if no document is long enough.
    """
    rows = measured(frame, "loss")
    unit = _present(rows, UNIT)
    key = [*unit, "context_length"]
    rows = rows[[*key, "position", "nll"]].astype({"nll": "float64"})
    wanted = np.unique(np.asarray(_lengths(rows["context_length"]) if lengths is None else lengths, np.int64))
    # One pass: sums between one wanted length and the next, then added up along the lengths.
    stretch = np.searchsorted(wanted, rows["position"].to_numpy(), side="right")
    parts = rows.groupby([*key, stretch], observed=True, dropna=False)["nll"].agg(["sum", "count"])
    total, count = (parts[x].unstack().reindex(columns=range(len(wanted))).fillna(0).cumsum(axis=1) for x in parts)
    means = (total / count).where(count == wanted - 1).set_axis(wanted, axis="columns")
    table = means.melt(var_name="length", value_name="nll", ignore_index=False).dropna().reset_index()
    table = table.sort_values([*unit, "length", "context_length"]).drop_duplicates([*unit, "length"])
    if table.empty:
        longest = rows["context_length"].max()
        raise UserError(f"no document has {wanted[0]:,} measured tokens; the longest has {longest:,.0f}")
    return table.drop(columns="context_length").rename(columns={"length": "context_length"}).reset_index(drop=True)


def _lengths(run_at: pd.Series) -> list[int]:
    longest, few = int(run_at.max()), run_at.unique() if run_at.nunique() <= 6 else [run_at.max()]
    return sorted({*(2**k for k in range(7, longest.bit_length())), *map(int, few)})


def loss_by_length(frame: pd.DataFrame, lengths: Sequence[int] | None = None) -> pd.DataFrame:
    """Return the mean loss over the first L tokens per `series` and `context_length` L, over documents.

    `mean`, `low`, `high` in nats per token (Student's interval over `n` documents) and `perplexity`, the
    exponential of `mean`. `lengths` as in `document_losses`.
    """
    table = statistics.means(document_losses(frame, lengths), ["series", "context_length"], "nll")
    return table.assign(perplexity=np.exp(table["mean"]))


def needle_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `key_attention` that predict the first digit of the answer.

    There `needle_score` is what the name says: the weight that this row puts on the digits of the needle.
    """
    rows = measured(frame, "key_attention")
    return rows[rows["position"] == rows["answer_position"]]


def needle_by_head(frame: pd.DataFrame, context_length: int | None = None) -> pd.DataFrame:
    """Return the needle score per `series`, `layer` and `head`, best first, over `n` cells.

    `context_length` (tokens) keeps one length; by default all lengths are averaged.
    """
    rows = needle_scores(frame)
    if context_length is not None:
        rows = rows[rows["context_length"] == context_length]
    table = statistics.means(rows, ["series", "layer", "head"], "needle_score", most=1.0)
    table = table.astype({"layer": "int64", "head": "int64"})
    return table.sort_values(["series", "mean"], ascending=[True, False], ignore_index=True)


def best_heads(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `needle_scores` of each series' best head: highest mean over all its cells."""
    best = needle_by_head(frame).drop_duplicates("series")[["series", "layer", "head"]]
    return needle_scores(frame).merge(best, on=["series", "layer", "head"])


def needle_by_length(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the needle score of the best head per `series` and `context_length`, with `layer` and `head`.

    The head is chosen once per series (see `best_heads`), so lengths are compared on the same head.
    """
    return statistics.means(best_heads(frame), ["series", "layer", "head", "context_length"], "needle_score", most=1.0)


def attention_by_position(frame: pd.DataFrame, value: str, *, by: Sequence[str] = (), bins: int = 24) -> pd.DataFrame:
    """Return one property of the attention weights per `series` and `position` (0-based row, tokens).

    `value` is `max_weight`, `entropy` (nats), `effective_keys`, `first_weight` or `needle_score`. Rows are
    averaged over heads (and over layers, unless `by` names `layer`) within a cell and one of `bins` log
    bins; mean and interval are over cells. The row that answers looks at the needle as no other does, and is
    left out where there are others.
    """
    rows = measured(frame, "key_attention")
    ordinary = rows[rows["position"] != rows["answer_position"]]
    rows = ordinary if len(ordinary) else rows
    edges = statistics.bin_edges(int(rows["position"].max()) + 1, bins, "log")
    rows = rows.assign(position=statistics.in_bins(rows["position"] + 1, edges, "log"))
    unit = ["series", *by, "context_length", *_present(rows, ["depth", "trial"]), "position"]
    units = statistics.unit_means(rows, unit, value)
    return statistics.means(units, ["series", *by, "position"], value, most=MOST.get(value, np.inf))


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how many cells of each `series` and `task` failed, with the commonest `error`; may be empty."""
    failed = labelled(frame)
    failed = failed[failed["status"] == "failed"]
    errors = failed["error"].astype("object").where(failed["error"].notna(), "unknown")
    table = failed.assign(error=errors).groupby(["series", "task"], observed=True)["error"]
    return table.agg(failed="count", error=lambda texts: texts.mode().iloc[0]).reset_index()


def _present(rows: pd.DataFrame, names: list[str]) -> list[str]:
    return [name for name in names if name in rows]
