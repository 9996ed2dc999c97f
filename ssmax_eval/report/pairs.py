"""Which series is compared with which."""

from __future__ import annotations

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report.series import series_table

EQUAL: tuple[list[str], ...] = (["checkpoint", "dtype", "rope"], ["checkpoint"], ["dtype", "rope"], [])
"""What is otherwise equal between a series and its baseline, the closest match first."""


def pairs(frame: pd.DataFrame, baseline: str | None = None) -> list[tuple[str, str]]:
    """Return the (baseline, series) to compare: every other series with `baseline`.

    `baseline` is a name of `series`, or an attention such as "softmax": then each series is compared with that
    attention on its own checkpoint and RoPE, or with the only one that there is. By default each checkpoint's series
    with its first, or, if no checkpoint has two, all with the very first. Raises UserError for an unknown baseline and
    where there is only one series.
    """
    about = series_table(frame)[["series", "checkpoint", "attention", "dtype", "rope"]].astype("str")
    names = about["series"].tolist()
    if len(names) < 2:
        raise UserError(f"a comparison needs at least two series; these results hold only '{names[0]}'")
    if baseline is None:
        first = about.groupby("checkpoint", sort=False)["series"].transform("first")
        return _with(names, [names[0]] * len(names) if (first == about["series"]).all() else first.tolist())
    kind = about["attention"].str.partition(":")[0]
    chosen = about[(about["attention"] == baseline) | (kind == baseline)]
    if chosen.empty and baseline in names:
        return _with(names, [baseline] * len(names))
    if chosen.empty:
        raise UserError(f"unknown baseline '{baseline}'; these results hold {', '.join(names)}")
    found = [name if name in set(chosen["series"]) else _match(row, chosen) for name, row in _rows(about)]
    couples = _with(names, found)
    if not couples:
        raise UserError(
            f"baseline '{baseline}' fits several series equally well; give one of {', '.join(chosen['series'])}"
            if len(chosen) < len(names)
            else f"every series is '{baseline}'; give one of {', '.join(names)} as the baseline"
        )
    return couples


def without_shared(baseline: str, series: str) -> tuple[list[str], str, str]:
    """Return the parts that two names of series share, and the two names without them."""
    ours, theirs = series.split(" · "), baseline.split(" · ")
    shared = [part for part in ours if part in theirs]
    short = [" · ".join(part for part in parts if part not in shared) for parts in (theirs, ours)]
    return (shared, short[0], short[1]) if all(short) else ([], baseline, series)


def _match(row: pd.Series, chosen: pd.DataFrame) -> str | None:
    """The one series of `chosen` that is closest to a row; None where several are equally close."""
    for names in EQUAL:
        close = chosen[(chosen[names] == row[names]).all(axis=1)]
        if len(close):
            return str(close["series"].iloc[0]) if len(close) == 1 else None
    return None


def _rows(about: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    return [(str(row["series"]), row) for _, row in about.iterrows()]


def _with(names: list[str], bases: list[str] | list[str | None]) -> list[tuple[str, str]]:
    return [(base, name) for base, name in zip(bases, names, strict=True) if base is not None and base != name]
