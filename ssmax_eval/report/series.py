"""Which rows belong to one line of a plot, what that line is called, and how it looks."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Quantity
from ssmax_eval.report.identity import settings
from ssmax_eval.report.kept import keep
from ssmax_eval.report.labels import placed

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


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the ordered categorical `series`: one name per checkpoint, attention, dtype and RoPE change.

    A name holds only what tells the series of this frame apart. Runs whose identities differ, in the weights, a table
    of values, the text, the seed or the wording of the task, are different series, named by what differs. Where several
    tasks measure the same quantity, the name holds the task. Runs of one identity that measured different cells are
    one series; if they measured the same cells, their names are added. A frame that has `series` already comes back
    as it is. Raises UserError for an empty frame or a frame that is not from `read_results`.
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
    frame = keep(placed(frame))
    own = [name for name in ("stored", "kind", "family") if name in frame]
    runs = frame.drop_duplicates("run").set_index("run")[[*PARTS, "task", *own]].astype("object")
    runs = runs.where(runs.notna(), "").astype("str")
    runs.index = runs.index.astype("str")
    pooled = "seed" in frame
    runs["setting"] = settings(frame, runs.assign(checkpoint=runs["stored"]) if "stored" in runs else runs)
    configuration = [*PARTS, "setting", "task"]
    repeated = _repeated(frame, runs, configuration)
    alike = _drawn_alike(frame)
    runs["alike"] = [task if task in alike else "" for task in runs["task"]]
    runs["rerun"] = [name if name in repeated else "" for name in runs.index]
    attentions = list(dict.fromkeys(runs["attention"]))
    kinds = dict(zip(runs["attention"], runs.get("kind", runs["attention"].str.partition(":")[0]), strict=True))
    attentions.sort(key=lambda spec: kinds[spec] != BASELINE)
    checkpoints = list(dict.fromkeys(runs["checkpoint"]))
    if frame.attrs.get("labelled") or pooled:
        families = runs.groupby("checkpoint")["attention"].agg(lambda specs: kinds[specs.iloc[0]] != BASELINE)
        checkpoints.sort(key=lambda name: bool(families[name]))
    runs["order"] = [
        (checkpoints.index(c), attentions.index(a)) for c, a in zip(runs["checkpoint"], runs["attention"], strict=True)
    ]
    parts = [*PARTS, "setting", "alike", "rerun"]
    shown = [part for part in parts if part == "attention" or runs[part].nunique() > 1]
    # A label that has one attention says it.
    said = runs["checkpoint"].isin(frame.attrs.get("labelled", [])) & (
        runs.groupby("checkpoint")["attention"].transform("nunique") == 1
    )
    if "checkpoint" in shown:
        runs["attention"] = runs["attention"].mask(said, "")
    runs["series"] = [" · ".join(filter(None, map(str, row))) for row in runs[shown].itertuples(index=False)]
    names = list(dict.fromkeys(runs.sort_values("order", kind="stable")["series"]))
    series = frame["run"].astype("str").map(runs["series"])
    frame = frame.assign(
        series=pd.Categorical(series, categories=names, ordered=True),
        setting=frame["run"].astype("str").map(runs["setting"]).astype("category"),
    )
    about = frame.drop_duplicates("series").set_index("series")["attention"].astype("str")
    # What all series look like, for parts of the frame that lack some.
    return keep(frame, looks={name: about[name] for name in names})


def quantities_of(frame: pd.DataFrame, task: str) -> list[Quantity]:
    """Return the quantities that a frame's `attrs` declare for a kind of task; none for one that they lack."""
    return [Quantity.from_json(record) for record in frame.attrs.get("quantities", {}).get(task, [])]


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
    columns = [column for column in (*COORDINATES, "seed") if column in frame]
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
    known = {**frame.attrs.get("looks", {})}
    table = series_table(frame)[["series", "attention"]].astype("str")
    here = dict(zip(table["series"], table["attention"], strict=True))
    if not set(here) <= set(known):
        known = here
    attentions: list[str] = []
    seen: dict[str, int] = {}
    result: dict[str, dict[str, Any]] = {}
    for name, attention in known.items():
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
    return {name: look for name, look in result.items() if name in here}
