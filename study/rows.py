"""Stored results as rows of families and seeds."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report.kept import keep
from study.families import label, ordered, rope_of
from study.trained import Trained

STRIDE = 10_000
"""More trials or documents than any run has. It keeps those of different seeds apart."""


def of_families(frame: pd.DataFrame, trained: Sequence[Trained]) -> pd.DataFrame:
    """Keep the rows of these checkpoints, under the attention they were trained with; add `family` and `seed`.

    Also add `series`, the family's label, by which the figures are drawn, and say `rope` in the words of
    `families.ROPES`. UserError when no row is left, or when two runs of one checkpoint and task would count twice.
    """
    if frame.empty:
        raise UserError("the runs hold no measured cell; study/measure.sh measures the checkpoints")
    frame = keep(frame)
    made = {t.name: t for t in trained}
    names = frame["checkpoint"].astype("str")
    own = names.map({name: t.attention for name, t in made.items()})
    rows = frame[frame["attention"].astype("str").str.partition(":")[0] == own]
    if rows.empty:
        raise UserError(
            f"the runs are of {', '.join(sorted(names.unique())[:4])}, none of the finished checkpoints "
            f"{', '.join(sorted(made)[:4])}{', ...' if len(made) > 4 else ''} under its own attention"
        )
    names = rows["checkpoint"].astype("str")
    rows = rows.assign(
        family=names.map({name: t.family for name, t in made.items()}).astype("category"),
        seed=names.map({name: t.seed for name, t in made.items()}),
        rope=rows["rope"].astype("str").map(rope_of).astype("category"),
    )
    _refuse_twice(rows)
    families = ordered(rows["family"])
    series = pd.Categorical(rows["family"].astype("str").map(label), [label(name) for name in families], ordered=True)
    # The report gives every attention a colour of its own; here every family has one.
    return rows.assign(series=series, attention=series)


def _refuse_twice(rows: pd.DataFrame) -> None:
    """Raise UserError when two runs are of one checkpoint, RoPE and task."""
    runs = rows.drop_duplicates("run")[["run", "checkpoint", "rope", "task"]].astype("str")
    twice = runs[runs.duplicated(["checkpoint", "rope", "task"], keep=False)]
    if twice.size:
        raise UserError(
            f"{' and '.join(twice['run'][:2])} are two runs of one checkpoint and task; keep one in the store"
        )


def for_drawing(rows: pd.DataFrame) -> pd.DataFrame:
    """Give trials and documents of different seeds different numbers, and number heads by their needle score.

    The heads of two seeds have nothing to do with each other, but the best of one and the best of the other do:
    `head` becomes the rank within a checkpoint, by the mean needle score over its cells, and `layer` 0.
    """
    rows = rows.assign(**{name: rows["seed"] * STRIDE + rows[name] for name in ("trial", "document") if name in rows})
    if "needle_score" not in rows:
        return rows
    answering = rows[rows["position"] == rows.get("answer_position")]
    key = ["family", "seed", "rope", "layer", "head"]
    means = answering.groupby(key, observed=True)["needle_score"].mean().reset_index()
    means["rank"] = means.groupby(key[:3])["needle_score"].rank(method="first", ascending=False) - 1
    rank = rows[key].merge(means, on=key, how="left")["rank"].to_numpy()
    return rows.assign(layer=rows["layer"].where(rows["layer"].isna(), 0), head=rank)
