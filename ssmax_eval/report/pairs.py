"""Which series is compared with which."""

from __future__ import annotations

import re

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report.series import BASELINE, labelled

EQUAL: tuple[list[str], ...] = (
    ["checkpoint", "dtype", "rope", "setting"],
    ["checkpoint", "dtype", "rope"],
    ["checkpoint"],
    ["dtype", "rope", "setting"],
    ["dtype", "rope"],
    [],
)
"""What is otherwise equal between a series and its baseline, the closest match first."""


def pairs(frame: pd.DataFrame, baseline: str | None = None) -> list[tuple[str, str]]:
    """Return the (baseline, series) to compare: every other series with `baseline`.

    `baseline` is a name of `series`, a checkpoint, or an attention such as "softmax": then each series is compared with
    that attention on its own checkpoint and RoPE; or, where each attention has a checkpoint of its own, on the one
    whose name shares most with that of the series, such as the seed. By default softmax is the baseline; where there
    is none, each checkpoint's series are compared with its first, or, if no checkpoint has two, all with the very
    first. Raises UserError for an unknown baseline and where there is only one series.
    """
    about = _about(frame)
    names = about["series"].tolist()
    if len(names) < 2:
        raise UserError(f"a comparison needs at least two series; these results hold only '{names[0]}'")
    if baseline is None:
        return _with(names, _default(about))
    kinds = {*about["attention"], *about["kind"]}
    if baseline in names and baseline not in kinds:
        return _with(names, [baseline] * len(names))
    chosen = about[(about["attention"] == baseline) | (about["kind"] == baseline) | (about["checkpoint"] == baseline)]
    if chosen.empty:
        known = dict.fromkeys([*about["attention"], *about["checkpoint"]])
        raise UserError(f"unknown baseline '{baseline}'; these results hold {', '.join([*names, *known])}")
    found = [name if name in set(chosen["series"]) else _match(row, chosen) for name, row in _rows(about)]
    couples = _with(names, found)
    if not couples:
        raise UserError(
            f"baseline '{baseline}' fits several series equally well; give one of {', '.join(chosen['series'])}"
            if len(chosen) < len(names)
            else f"every series is '{baseline}'; give one of {', '.join(names)} as the baseline"
        )
    return couples


def _about(frame: pd.DataFrame) -> pd.DataFrame:
    """What is known of each series, as text."""
    frame = labelled(frame)
    names = ["series", "checkpoint", "attention", "dtype", "rope"]
    own = [name for name in ("setting", "kind", "stored") if name in frame]
    about = frame[[*names, *own]].drop_duplicates("series").sort_values("series").astype("str").astype("object")
    about["kind"] = about["kind"] if "kind" in own else about["attention"].str.partition(":")[0]
    about["stored"] = about["stored"] if "stored" in own else about["checkpoint"]
    about["setting"] = about["setting"] if "setting" in own else ""
    return about.reset_index(drop=True)


def _default(about: pd.DataFrame) -> list[str]:
    """The baseline of each series: softmax where there is some, else the first."""
    names = about["series"].tolist()
    plain = about[about["kind"] == BASELINE]
    if len(plain) == len(about):
        return [names[0]] * len(names)
    if len(plain):
        mine = set(plain["series"])
        return [name if name in mine else _match(row, plain, first=True) or name for name, row in _rows(about)]
    first = about.groupby("checkpoint", sort=False)["series"].transform("first")
    return [names[0]] * len(names) if (first == about["series"]).all() else first.tolist()


def without_shared(baseline: str, series: str) -> tuple[list[str], str, str]:
    """Return the parts that two names of series share, and the two names without them."""
    ours, theirs = series.split(" · "), baseline.split(" · ")
    shared = [part for part in ours if part in theirs]
    short = [" · ".join(part for part in parts if part not in shared) for parts in (theirs, ours)]
    return (shared, short[0], short[1]) if all(short) else ([], baseline, series)


def _match(row: pd.Series, chosen: pd.DataFrame, *, first: bool = False) -> str | None:
    """The one series of `chosen` that is closest to a row; where several are equally close, None or the `first`."""
    for names in EQUAL:
        close = chosen[(chosen[names] == row[names]).all(axis=1)]
        if len(close):
            likeness = [_likeness(str(row["stored"]), str(name)) for name in close["stored"]]
            best = close[[one == max(likeness) for one in likeness]]
            return str(best["series"].iloc[0]) if len(best) == 1 or first else None
    return None


def _likeness(name: str, other: str) -> tuple[int, int]:
    """How many parts two names of checkpoints share, and, negative, how many more the other has."""
    mine, theirs = (set(re.split(r"[-_./ ]+", text)) for text in (name, other))
    return len(mine & theirs), -len(theirs - mine)


def _rows(about: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    return [(str(row["series"]), row) for _, row in about.iterrows()]


def _with(names: list[str], bases: list[str] | list[str | None]) -> list[tuple[str, str]]:
    return [(base, name) for base, name in zip(bases, names, strict=True) if base is not None and base != name]
