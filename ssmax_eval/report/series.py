"""Which rows belong to one line of a plot, what that line is called, and how it looks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Quantity

BASELINE = "softmax"
"""The attention that is listed first, and against which others are compared."""

# Okabe and Ito's palette without its yellow, which is too pale for lines on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = "os^DvPX*h"

PARTS = ["checkpoint", "attention", "dtype", "rope"]
REQUIRED = ["run", *PARTS, "task", "train_length", "context_length", "status"]
COORDINATES = ["context_length", "depth", "trial", "document"]
"""Columns that say which cell of a task's grid a row belongs to."""
PLACES = ["source", "position", "layer", "head"]
"""Columns that say which row of a cell's table it is, or of what text."""
UNSAID = "=table"
"""In the label of an attention: a table of values, which the label does not spell out."""


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the ordered categorical `series`: one name per checkpoint, attention, dtype and RoPE change.

    A name holds only what tells the series of this frame apart. Where several tasks measure the same quantity, it
    holds the task. Runs of the same configuration and task that measured different cells are one series; if they
    measured the same cells, their names are added. Attentions whose labels agree and whose tables of values do not
    are numbered. A frame that has `series` already comes back as it is. Raises UserError for an empty frame or a
    frame that is not from `read_results`.
    """
    if not isinstance(frame, pd.DataFrame):
        raise UserError(f"not a frame of results but {type(frame).__name__}; use ssmax_eval.read_results(...)")
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
    runs["variant"] = _variants(frame, runs)
    configuration = [*PARTS, "variant", "task"]
    repeated = _repeated(frame, runs, configuration)
    alike = _drawn_alike(frame)
    runs["alike"] = [task if task in alike else "" for task in runs["task"]]
    runs["rerun"] = [name if name in repeated else "" for name in runs.index]
    attentions = list(dict.fromkeys(runs["attention"]))
    attentions.sort(key=lambda spec: spec.partition(":")[0] != BASELINE)
    checkpoints = list(dict.fromkeys(runs["checkpoint"]))
    runs["order"] = [
        (checkpoints.index(c), attentions.index(a)) for c, a in zip(runs["checkpoint"], runs["attention"], strict=True)
    ]
    parts = [*PARTS, "variant", "alike", "rerun"]
    shown = [part for part in parts if part == "attention" or runs[part].nunique() > 1]
    runs["series"] = [" · ".join(filter(None, map(str, row))) for row in runs[shown].itertuples(index=False)]
    names = list(dict.fromkeys(runs.sort_values("order", kind="stable")["series"]))
    series = frame["run"].astype("str").map(runs["series"])
    return frame.assign(series=pd.Categorical(series, categories=names, ordered=True))


def quantities_of(frame: pd.DataFrame, task: str) -> list[Quantity]:
    """Return the quantities that a frame's `attrs` declare for a kind of task; none for one that they lack."""
    return [Quantity.from_json(record) for record in frame.attrs.get("quantities", {}).get(task, [])]


def _variants(frame: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """A number for each attention whose label stands for another one too, by the identity of its runs."""
    known = frame.attrs.get("attentions", {})
    seen: dict[tuple[str, str], list[str]] = {}
    found = []
    for name, checkpoint, attention in runs[["checkpoint", "attention"]].itertuples(name=None):
        mine = seen.setdefault((checkpoint, attention), [])
        identity = str(known.get(str(name), "")) if UNSAID in attention else ""
        if identity not in mine:
            mine.append(identity)
        found.append((mine, mine.index(identity)))
    return [f"variant {place + 1}" if len(mine) > 1 else "" for mine, place in found]


def _drawn_alike(frame: pd.DataFrame) -> set[str]:
    """Return the tasks that measure a quantity which an earlier one, by name, measures too."""
    owners: dict[tuple[object, ...], str] = {}
    later = set()
    for task in sorted(map(str, frame["task"].unique())):
        for quantity in quantities_of(frame, task):
            if owners.setdefault(quantity.alike(), task) != task:
                later.add(task)
    return later


def _repeated(frame: pd.DataFrame, runs: pd.DataFrame, configuration: list[str]) -> set[str]:
    """Return the runs that share a cell with another run of the same configuration and task."""
    alike = runs[runs.duplicated(configuration, keep=False)]
    columns = [column for column in COORDINATES if column in frame]
    rows = frame.loc[frame["run"].isin(alike.index), ["run", *columns]].drop_duplicates()
    rows = rows.astype({"run": "str"}).join(alike, on="run")
    return set(rows.loc[rows.duplicated([*configuration, *columns], keep=False), "run"])


def series_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per series.

    Columns: `series`, `checkpoint`, `attention`, `dtype`, `rope`, `train_length` (tokens).
    """
    frame = labelled(frame)
    table = frame.drop_duplicates("series")[["series", *PARTS, "train_length"]]
    table = table.assign(train_length=pd.to_numeric(table["train_length"]))  # NaN where it is not known
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
