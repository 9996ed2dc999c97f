"""Is one better than the other? Differences on identical prompts and documents, with what they rest on.

A difference is always *series minus baseline*. What only one of the two has measured is counted and said,
never silently dropped.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report import statistics
from ssmax_eval.report.series import labelled, of_task, series_table
from ssmax_eval.report.tables import document_losses

TRIAL = ["context_length", "depth", "trial"]
PROMPT = ["expected", "actual_length", "prompt"]
"""If these agree in a trial, both series saw the same prompt."""


def pairs(frame: pd.DataFrame, baseline: str | None = None) -> list[tuple[str, str]]:
    """Return the (baseline, series) to compare: every other series with `baseline`, a name of `series`.

    By default each checkpoint's series with its first, or, if no checkpoint has two, all with the very
    first. Raises UserError for an unknown baseline and where there is only one series.
    """
    about = series_table(frame)[["series", "checkpoint"]].astype("str")
    names = about["series"].tolist()
    if len(names) < 2:
        raise UserError(f"a comparison needs at least two series; these results hold only '{names[0]}'")
    if baseline is not None and baseline not in names:
        raise UserError(f"unknown baseline '{baseline}'; these results hold {', '.join(names)}")
    first = about.groupby("checkpoint", sort=False)["series"].transform("first")
    if baseline is not None or (first == about["series"]).all():
        first = pd.Series([baseline or names[0]] * len(names))
    return [(base, name) for base, name in zip(first, names, strict=True) if base != name]


def told_apart(baseline: str, series: str) -> tuple[list[str], str, str]:
    """Return the parts that two names of series share, and the two names without them."""
    ours, theirs = series.split(" · "), baseline.split(" · ")
    shared = [part for part in ours if part in theirs]
    short = [" · ".join(part for part in parts if part not in shared) for parts in (theirs, ours)]
    return (shared, short[0], short[1]) if all(short) else ([], baseline, series)


def matched_trials(frame: pd.DataFrame, baseline: str, series: str) -> pd.DataFrame:
    """Return the trials of two series side by side, one row for each trial that either has.

    Columns: `context_length`, `depth`, `trial`, `score_baseline`, `score_series` and `match`: "both",
    "failed" (in one or both), "different prompt", "only baseline" or "only series".
    """
    rows = of_task(frame, "niah")
    prompt = [name for name in PROMPT if name in rows]
    sides = [rows.loc[rows["series"] == name, [*TRIAL, *prompt, "status", "score"]] for name in (baseline, series)]
    table = sides[0].merge(sides[1], how="outer", on=TRIAL, suffixes=("_baseline", "_series"), indicator=True)
    failed = (table["status_baseline"] == "failed") | (table["status_series"] == "failed")
    differs = np.zeros(len(table), bool)
    for name in prompt:
        # A failed trial may not have got as far as its prompt.
        differs |= (table[f"{name}_baseline"].astype("object") != table[f"{name}_series"].astype("object")).to_numpy(
            bool
        )
    alone = table["_merge"].map({"left_only": "only baseline", "right_only": "only series", "both": ""}).astype("str")
    table["match"] = np.select([alone != "", failed, differs], [alone, "failed", "different prompt"], "both")
    return table[[*TRIAL, "score_baseline", "score_series", "match"]]


def retrieval_differences(frame: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return the difference in needles found, per pair and `context_length` (tokens; 0 for all together).

    Columns: `baseline`, `series`, `context_length`, `mean` (share of trials), `low`, `high` (paired 95 %),
    `p` (exact McNemar), `n` (identical prompts), `gained` and `lost` (found by only one of the two), and
    `unmatched` (trials left out, see `matched_trials`).
    """
    frame = labelled(frame)
    parts = []
    for base, name in pairs(frame, baseline):
        trials = matched_trials(frame, base, name)
        change = (trials["score_series"] - trials["score_baseline"]).where(trials["match"] == "both")
        counts = pd.DataFrame(
            {
                "context_length": trials["context_length"],
                "n": change.notna(),
                "gained": change > 0,
                "lost": change < 0,
                "unmatched": change.isna(),
            }
        )
        both = pd.concat([counts.assign(context_length=0), counts]).groupby("context_length").sum().reset_index()
        parts.append(both.assign(baseline=base, series=name))
    table = pd.concat(parts, ignore_index=True)
    table["mean"] = ((table["gained"] - table["lost"]) / table["n"].where(table["n"] > 0)).astype("float64")
    table["low"], table["high"] = statistics.paired_proportions(table["lost"], table["gained"], table["n"])
    table["p"] = statistics.mcnemar(table["lost"], table["gained"])
    columns = ["baseline", "series", "context_length", "mean", "low", "high", "p", "n", "gained", "lost", "unmatched"]
    return table[columns]


def loss_differences(frame: pd.DataFrame, baseline: str | None = None) -> pd.DataFrame:
    """Return the difference in mean loss over the first L tokens, per pair and `context_length` L.

    Columns: `baseline`, `series`, `context_length`, `mean` (nats per token; below 0 the series is better),
    `low`, `high` (95 % over documents, by the `method` of `statistics.paired_means`), `n` (documents of both)
    and `unmatched` (documents of one).
    """
    frame = labelled(frame)
    losses = document_losses(frame)
    losses["series"] = losses["series"].astype("str")
    unit = [name for name in ("context_length", "source", "document") if name in losses]
    wide = losses.pivot(index=unit, columns="series", values="nll")
    rows = []
    for base, name in pairs(frame, baseline):
        if base not in wide or name not in wide:
            continue
        change = wide[name] - wide[base]
        either = wide[name].notna() | wide[base].notna()
        for length, values in change[either].groupby("context_length"):
            known = values.dropna().to_numpy("float64")
            mean = known.mean() if known.size else np.nan
            rows.append(
                (base, name, length, mean, *statistics.paired_means(known), known.size, values.size - known.size)
            )
    if not rows:
        raise UserError("no two series to compare have both measured the task 'loss'")
    columns = ["baseline", "series", "context_length", "mean", "low", "high", "method", "n", "unmatched"]
    return pd.DataFrame(rows, columns=columns)
