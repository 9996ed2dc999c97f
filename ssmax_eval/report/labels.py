"""Names of a user's own for series, and seeds that become one series."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.positions.label import COLUMN
from ssmax_eval.positions.label import label as both_names

SEED = re.compile(r"[-_. ]?seed[-_]?(\d+)", re.IGNORECASE)
"""What tells the seeds of one training apart in the names of its checkpoints: `ssmax-seed0`."""
POOLS = ("seed",)


def renamed(frame: pd.DataFrame, label: Mapping[str, str] | None = None, pool: str | None = None) -> pd.DataFrame:
    """Return the results with the columns `checkpoint` and `attention` as a user calls them.

    `label` maps patterns, such as "ssmax-seed*", to names. A pattern is looked for among the checkpoints, then among
    the attentions; the first that fits counts. `pool` "seed" makes one series of the checkpoints that share a label,
    or whose names differ in the number of the seed alone, and says which seed a row is of in the column `seed`.
    Checkpoints with the same label that are not pooled keep their own name behind it. UserError for a pattern that
    fits nothing and an unknown `pool`.
    """
    if pool is not None and pool not in POOLS:
        raise UserError(f"cannot pool {pool!r}; known: {', '.join(POOLS)}")
    label = dict(label or {})
    if not label and pool is None:
        return frame
    frame = placed(frame)
    attrs = frame.attrs
    named = {name: list(dict.fromkeys(frame[name].astype("str"))) for name in ("checkpoint", "attention")}
    for pattern in label:
        if not any(fnmatchcase(name, pattern) for names in named.values() for name in names):
            raise UserError(
                f"label {pattern!r} fits no checkpoint and no attention; "
                f"there are {', '.join(dict.fromkeys([*named['checkpoint'], *named['attention']]))}"
            )
    owned = {name: found for name in named["checkpoint"] if (found := _label(name, label)) is not None}
    families = {name: owned.get(name, SEED.sub("", name) or name if pool else name) for name in named["checkpoint"]}
    attentions = {name: _label(name, label) or name for name in named["attention"]}
    counts = pd.Series(list(families.values())).value_counts()
    called = {
        name: family if pool or counts[family] == 1 else f"{family} · {name}" for name, family in families.items()
    }
    checkpoints = frame["checkpoint"].astype("str")
    # A column keeps what a checkpoint is called on disk, by which likes are matched.
    frame = frame.assign(
        family=checkpoints.map(families).astype("category"),
        stored=checkpoints.astype("category"),
        kind=frame["attention"].astype("str").str.partition(":")[0].astype("category"),
        checkpoint=checkpoints.map(called).astype("category"),
        attention=frame["attention"].astype("str").map(attentions).astype("category"),
    )
    if pool:
        frame = frame.assign(seed=checkpoints.map(_seeds(families)).astype("int64"))
    frame.attrs = {**attrs, "labelled": sorted(set(owned.values()))}
    return frame


def placed(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the results with the position map in the name of the attention, where runs have one.

    A series, a baseline and a colour are then of both: "softmax + rerope:window=4096".
    """
    if COLUMN not in frame:
        return frame
    maps = frame[COLUMN].astype("object").where(frame[COLUMN].notna(), "")
    both = [both_names(*pair) for pair in zip(frame["attention"].astype("str"), maps, strict=True)]
    attrs = frame.attrs
    frame = frame.drop(columns=COLUMN).assign(attention=pd.Categorical(both))
    frame.attrs = attrs
    return frame


def parsed(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the labels of options such as `ssmax-seed*=SSMax`. UserError for another form."""
    found = {}
    for text in texts:
        pattern, equals, name = text.rpartition("=")
        if not (pattern and equals and name.strip()):
            raise UserError(f"--label takes PATTERN=NAME, such as 'ssmax-seed*=SSMax'; given {text!r}")
        found[pattern] = name.strip()
    return found


def _label(name: str, label: Mapping[str, str]) -> str | None:
    return next((called for pattern, called in label.items() if fnmatchcase(name, pattern)), None)


def _seeds(families: Mapping[str, str]) -> dict[str, int]:
    """The seed of each checkpoint: the number in its name, or, where names lack it or share it, its place."""
    found: dict[str, int] = {}
    for family in dict.fromkeys(families.values()):
        mine = [name for name, other in families.items() if other == family]
        numbers = [int(match[1]) if (match := SEED.search(name)) else -1 for name in mine]
        alone = len(set(numbers)) == len(numbers) and -1 not in numbers
        found.update(zip(mine, numbers if alone else range(len(mine)), strict=True))
    return found
