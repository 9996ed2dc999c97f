"""Families of checkpoints: the seeds of one training are one series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report.series import labelled
from study.trained import Trained

FAMILIES = {
    "softmax": "softmax",
    "ssmax": "SSMax",
    "lssar": "LSSAR p=15",
    "lssa": "LSSA",
    "lssar-p3": "LSSAR p=3",
    "ssmax-bias": "SSMax with bias",
    "ssmax-s1": "SSMax, s = 1",
    "ssmax-late": "SSMax from 75 %",
    "ssmax-after": "SSMax afterwards",
    "per-n": "factor per n",
}
"""What the families are called on the page, in its order; the first three are the main ones."""
MAIN = ("softmax", "ssmax", "lssar")
STUDIES = {"-long": "3 × the steps", "-text": "text only", "-512": "text only, 512 tokens"}
"""Families trained in another way, by how their names end: to look into claims that do not hold."""
PLAIN, RAISED = "", "theta x50"
ROPES = {PLAIN: "plain RoPE", RAISED: "RoPE base × 50"}
"""The positions that the checkpoints were evaluated with, as the store calls them."""
STRIDE = 10_000
"""More trials or documents than any run has: keeps those of different seeds apart."""


def study(family: str) -> str:
    """How the name of a family trained in another way ends; "" for the others."""
    return next((ending for ending in STUDIES if family.endswith(ending)), "")


def aside(family: str) -> bool:
    """Whether a family serves one question and is left out of the figures of all."""
    return family.startswith("per-n") or study(family) != ""


def label(family: str) -> str:
    """What a family is called; an unknown one keeps its name."""
    ending = study(family)
    name = family.removesuffix(ending)
    return FAMILIES.get(name, name) + (f", {STUDIES[ending]}" if ending else "")


def ordered(families: Iterable[str]) -> list[str]:
    """Distinct families in the page's order, the unknown ones and then those trained in another way last."""
    known, endings = list(FAMILIES), ["", *STUDIES]

    def place(family: str) -> tuple[int, int, str]:
        name = family.removesuffix(study(family))
        return endings.index(study(family)), known.index(name) if name in known else len(known), family

    return sorted(set(families), key=place)


def of_families(frame: pd.DataFrame, trained: Sequence[Trained]) -> pd.DataFrame:
    """Keep the rows of these checkpoints under the attention they were trained with; add `family` and `seed`.

    Also `series`, which the figures draw one of per family. UserError when no row is left, or when two runs
    of one checkpoint and task would count twice.
    """
    frame = labelled(frame)
    made = {t.name: t for t in trained}
    names = frame["checkpoint"].astype("str")
    native = names.map({name: t.attention for name, t in made.items()})
    rows = frame[frame["attention"].astype("str").str.partition(":")[0] == native].drop(columns="series")
    if rows.empty:
        raise UserError(
            f"the runs are of {', '.join(sorted(names.unique())[:4])}, none of the finished checkpoints "
            f"{', '.join(sorted(made)[:4])}{', ...' if len(made) > 4 else ''} under its own attention"
        )
    names = rows["checkpoint"].astype("str")
    rows = rows.assign(
        family=names.map({n: t.family for n, t in made.items()}).astype("category"),
        seed=names.map({n: t.seed for n, t in made.items()}),
    )
    runs = rows.drop_duplicates("run")[["run", "checkpoint", "rope", "task"]].astype("str")
    if (twice := runs[runs.duplicated(["checkpoint", "rope", "task"], keep=False)]).size:
        raise UserError(
            f"{' and '.join(twice['run'][:2])} are two runs of one checkpoint and task; keep one in the store"
        )
    families = ordered(rows["family"])
    series = pd.Categorical(rows["family"].astype("str").map(label), [label(name) for name in families], ordered=True)
    # A colour is an attention in every figure of the report; here it is a family.
    return rows.assign(series=series, attention=series)


def for_drawing(rows: pd.DataFrame) -> pd.DataFrame:
    """Make trials and documents of different seeds different ones, and number heads by their needle score.

    The heads of two seeds have nothing to do with each other, but the best of one and the best of the other
    have: `head` becomes the rank within a checkpoint, by the mean needle score over its cells, and `layer` 0.
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
