"""The numbers of the figures: rows of results in, one table of means with their 95 % intervals out.

All take rows as from `figures.chosen` and give the columns `series`, what the means are drawn over, `mean`, `low`,
`high` and `n`, the number of units behind a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssmax_eval.report import statistics

DOCUMENT = ["series", "seed", "source", "document"]
"""What tells documents apart."""


def found_by(rows: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Share of needles found, by `series` and these columns, with Wilson's interval over seeds or trials.

    `failed` counts the trials that broke off. They are no misses, and not in `n`.
    """
    columns = ["series", *by]
    failed = rows["status"] != "ok"
    rows = _with_cluster(rows, ["trial"])
    alone = "depth" in by and rows.groupby("series", observed=True)["seed"].nunique().max() == 1
    cluster = [] if alone else ["cluster"]
    table = statistics.proportions(rows.assign(score=rows["score"].mask(failed)), columns, "score", cluster=cluster)
    counts = rows.assign(failed=failed).groupby(columns, observed=True)["failed"].sum()
    return table.merge(counts.reset_index(), on=columns)


def loss_by_position(rows: pd.DataFrame, bins: int = 64) -> pd.DataFrame:
    """Mean loss (nats per token) in bins of positions, evenly spaced on a log scale; Student over seeds or texts.

    `position` is the middle of a bin. Each document is averaged within a bin first.
    """
    rows = rows[rows["status"] == "ok"]
    edges = statistics.bin_edges(int(rows["position"].max()), bins, "log")
    rows = rows.assign(position=statistics.in_bins(rows["position"], edges, "log"))
    documents = statistics.unit_means(rows, [*DOCUMENT, "position"], "nll")
    return _means(documents, ["series", "position"], "nll")


def loss_by_length(rows: pd.DataFrame, lengths: Sequence[int]) -> pd.DataFrame:
    """Mean loss (nats per token) over the first L tokens, for every L of `lengths`; Student over seeds or texts.

    `context_length` is L. The first token has no loss, so L tokens have L − 1 of them.
    """
    rows = rows[rows["status"] == "ok"]
    parts = []
    for length in lengths:
        losses = rows[rows["position"] < length].groupby(DOCUMENT, observed=True)["nll"].agg(["mean", "count"])
        whole = losses[losses["count"] == length - 1].reset_index()
        parts.append(whole.rename(columns={"mean": "nll"}).assign(context_length=length))
    return _means(pd.concat(parts, ignore_index=True), ["series", "context_length"], "nll")


def answering(rows: pd.DataFrame) -> pd.DataFrame:
    """The finished rows where the answer begins: `needle_score` is the weight that a head puts on the digits there."""
    return rows[(rows["status"] == "ok") & (rows["position"] == rows["answer_position"])]


def weight_by_head(rows: pd.DataFrame) -> pd.DataFrame:
    """Needle score by `series` and `head`, the best head being 0 (see `rows.for_drawing`); Student's over trials."""
    return _means(answering(rows), ["series", "head"], "needle_score", most=1.0)


def _means(units: pd.DataFrame, by: Sequence[str], value: str, most: float | None = None) -> pd.DataFrame:
    """Means with Student's interval over clusters; a loss or a weight is never below 0, nor its interval."""
    names = ["source"] if "source" in units else ["trial"]
    return statistics.means(_with_cluster(units, names), by, value, cluster=["cluster"], between=(0.0, most))


def _with_cluster(rows: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Add what is independent: the seeds of a series that has several, else what these columns tell apart."""
    several = rows.groupby("series", observed=True)["seed"].transform("nunique") > 1
    own = rows.groupby(names, observed=True, dropna=False).ngroup()
    return rows.assign(cluster=rows["seed"].where(several, own))
