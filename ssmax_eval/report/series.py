"""Which rows belong to one line of a plot, what that line is called, and how it looks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ssmax_eval.errors import UserError

BASELINE = "softmax"
"""The attention that is listed first, and against which others are compared."""

# Okabe and Ito's palette without its yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "os^DvPX*h"

PARTS = ["checkpoint", "attention", "dtype", "rope"]
REQUIRED = ["run", *PARTS, "task", "train_length", "context_length", "status"]
TASKS = {"niah": ("niah", "niah_dense")}
"""Tasks that are drawn alike, by the name that figures and tables ask for."""
CELL = ["context_length", "depth", "trial", "document"]


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the ordered categorical `series`: one name per checkpoint, attention, dtype and RoPE change.

    A name holds only what tells the series of this frame apart; `niah_dense` beside `niah` has its own.
    Runs of the same configuration and task
    that measured different cells are one series; if they measured the same cells, their names are added.
    A frame that has `series` already comes back as it is. Raises UserError for an empty frame or a frame
    that is not from `read_results`.
    """
    if frame.empty:
        raise UserError("there is nothing to report: the results hold no rows; measure first with `ssmax-eval run`")
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise UserError(
            f"not a frame of results: it has no column {', '.join(missing)}; use ssmax_eval.read_results(...)"
        )
    if "series" in frame:
        return frame
    runs = frame.drop_duplicates("run").set_index("run")[[*PARTS, "task"]].astype("object")
    runs = runs.where(runs.notna(), "").astype("str")
    repeated = _repeated(frame, runs)
    both = {"niah", "niah_dense"} <= set(runs["task"])
    runs["dense"] = ["dense" if both and task == "niah_dense" else "" for task in runs["task"]]
    runs["rerun"] = [name if name in repeated else "" for name in runs.index]
    attentions = list(dict.fromkeys(runs["attention"]))
    attentions.sort(key=lambda spec: spec.partition(":")[0] != BASELINE)
    checkpoints = list(dict.fromkeys(runs["checkpoint"]))
    runs["order"] = [
        (checkpoints.index(c), attentions.index(a)) for c, a in zip(runs["checkpoint"], runs["attention"], strict=True)
    ]
    shown = [part for part in [*PARTS, "dense", "rerun"] if part == "attention" or runs[part].nunique() > 1]
    runs["series"] = [" · ".join(filter(None, map(str, row))) for row in runs[shown].itertuples(index=False)]
    names = list(dict.fromkeys(runs.sort_values("order", kind="stable")["series"]))
    series = frame["run"].astype("str").map(runs["series"])
    return frame.assign(series=pd.Categorical(series, categories=names, ordered=True))


def _repeated(frame: pd.DataFrame, runs: pd.DataFrame) -> set[str]:
    """Return the runs that share a cell with another run of the same configuration and task."""
    alike = runs[runs.duplicated([*PARTS, "task"], keep=False)]
    columns = [column for column in CELL if column in frame]
    rows = frame.loc[frame["run"].isin(alike.index), ["run", *columns]].drop_duplicates()
    rows = rows.astype({"run": "str"}).join(alike, on="run")
    return set(rows.loc[rows.duplicated([*PARTS, "task", *columns], keep=False), "run"])


def of_task(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the rows of one task with `series` added; raise UserError if there are none."""
    frame = labelled(frame)
    rows = frame[frame["task"].isin(TASKS.get(task, (task,)))]
    if rows.empty:
        present = ", ".join(sorted(map(str, frame["task"].unique())))
        raise UserError(f"these results hold no rows of task '{task}'; they hold {present}")
    return rows


def measured(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the rows of one task that did not fail; raise UserError if there are none."""
    rows = of_task(frame, task)
    rows = rows[rows["status"] == "ok"]
    if rows.empty:
        raise UserError(f"every cell of task '{task}' failed; see the column `error`")
    return rows


def series_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per series.

    Columns: `series`, `checkpoint`, `attention`, `dtype`, `rope`, `train_length` (tokens).
    """
    frame = labelled(frame)
    table = frame.drop_duplicates("series")[["series", *PARTS, "train_length"]]
    return table.sort_values("series").reset_index(drop=True)


def looks(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return matplotlib's colour, dashes and marker for each series: a colour is an attention everywhere."""
    attentions: list[str] = []
    seen: dict[str, int] = {}
    result: dict[str, dict[str, Any]] = {}
    for name, attention in series_table(frame)[["series", "attention"]].astype("str").itertuples(index=False):
        if attention not in attentions:
            attentions.append(attention)
        turn, colour = divmod(attentions.index(attention), len(COLOURS))
        dash = turn + seen.get(attention, 0)
        seen[attention] = seen.get(attention, 0) + 1
        result[name] = {
            "color": COLOURS[colour],
            "linestyle": DASHES[dash % len(DASHES)],
            "marker": MARKERS[len(result) % len(MARKERS)],
        }
    return result
