"""Made-up results with the columns of `ssmax_eval.read_results`, small enough to check by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd

from ssmax_eval.tasks import TASKS

QUANTITIES = {kind: [quantity.to_json() for quantity in task.quantities] for kind, task in TASKS.items()}
"""What the tasks declare, as `read_results` puts it on a frame."""
ATTENTIONS = ("softmax", "ssmax:s=0.12482")


def run(task: str, attention: str = "softmax", checkpoint: str = "smollm2-135m", **others: Any) -> dict[str, Any]:
    """The columns that every row of a run has."""
    about: dict[str, Any] = {
        "checkpoint": checkpoint,
        "attention": attention,
        "task": task,
        "train_length": 2048,
        "dtype": "float32",
        "rope": "",
        **others,
    }
    return {"run": "-".join(map(str, about.values())), **about}


def row(table: pd.DataFrame, key: Any) -> pd.Series:
    """One row of a table, by the name that it has in the index."""
    found = table.loc[key]
    assert isinstance(found, pd.Series)
    return found


def missing(rows: pd.DataFrame) -> pd.Series:
    """No error in any of these rows."""
    return pd.Series(pd.NA, rows.index, "object")


def declaring(make: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """Put the declarations on the frames that a function makes."""

    @wraps(make)
    def made(*arguments: Any, **options: Any) -> pd.DataFrame:
        frame = make(*arguments, **options)
        frame.attrs["quantities"] = QUANTITIES
        return frame

    return made


@declaring
def niah(
    attention: str = "softmax",
    lengths: tuple[int, ...] = (512, 1024, 2048, 4096, 8192),
    depths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0),
    trials: int = 3,
    reach: float = 3000,
    **others: Any,
) -> pd.DataFrame:
    """Needle results that are perfect below `reach` tokens and fade beyond."""
    rng = np.random.default_rng(len(attention))
    grid = pd.MultiIndex.from_product([lengths, depths, range(trials)], names=["context_length", "depth", "trial"])
    rows = grid.to_frame(index=False)
    chance = 1 / (1 + (rows["context_length"] / reach) ** 4)
    rows["score"] = (rng.random(len(rows)) < chance).astype(float)
    rows["leading_digits"] = np.where(rows["score"] == 1, 1.0, rng.integers(0, 4, len(rows)) / 7)
    rows["logprob"] = np.log(chance)
    rows["actual_length"], rows["actual_depth"] = rows["context_length"], rows["depth"]
    rows["expected"] = (1_000_000 + 7919 * rows.index.to_series()).astype(str)
    rows["answer"], rows["prompt"] = rows["expected"], "chat"
    return rows.assign(status="ok", error=missing(rows), seconds=1.0, **run("niah", attention, **others))


def fail(rows: pd.DataFrame, where: pd.Series, error: str = "out of memory") -> pd.DataFrame:
    """Turn some rows into failed cells."""
    rows = rows.copy()
    values = [name for name in ("score", "leading_digits", "logprob", "nll") if name in rows]
    rows.loc[where, values] = np.nan
    rows.loc[where, "status"] = "failed"
    rows["error"] = rows["error"].astype("object")
    rows.loc[where, "error"] = error
    return rows


@declaring
def loss(
    attention: str = "softmax", length: int = 4096, documents: int = 5, rise: float = 1.0, **others: Any
) -> pd.DataFrame:
    """Losses that fall to the training length (2 048) and rise by `rise` nats an octave beyond."""
    rng, noise = np.random.default_rng(documents), np.random.default_rng(len(attention))
    position = np.arange(1, length)
    curve = 2.5 + 4 / np.sqrt(position) + rise * np.clip(np.log2(position / 2048), 0, None)
    parts = [
        pd.DataFrame(
            {
                "document": d,
                "source": f"novel {d}",
                "position": position,
                "nll": curve + rng.normal(0, 0.2) + rng.normal(0, 1, length - 1) + noise.normal(0, 0.3, length - 1),
            }
        )
        for d in range(documents)
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(
        context_length=length,
        status="ok",
        error=missing(rows),
        seconds=9.0,
        **run("loss", attention, **others),
    )


@declaring
def key_attention(
    attention: str = "softmax",
    lengths: tuple[int, ...] = (512, 2048, 8192),
    depths: tuple[float, ...] = (0.0, 0.5, 1.0),
    trials: int = 2,
    layers: int = 6,
    heads: int = 4,
    fade: float = 0.7,
    **others: Any,
) -> pd.DataFrame:
    """Weights that fade with the number of keys as n^-fade; one head in each layer looks at the needle."""
    rng = np.random.default_rng(7)
    parts = []
    for length in lengths:
        probed = [*np.unique(np.geomspace(1, length - 12, 14).astype(int)), length - 9]
        names = ["depth", "trial", "layer", "head", "position"]
        rows = pd.MultiIndex.from_product(
            [depths, range(trials), range(layers), range(heads), probed], names=names
        ).to_frame(index=False)
        n = rows["position"] + 1
        rows["max_weight"] = n ** (-fade * rng.uniform(0.3, 1.2, len(rows)))
        rows["entropy"] = np.log(n) * fade * (0.6 + 0.6 * rows["layer"] / layers)
        rows["effective_keys"] = np.exp(rows["entropy"])
        rows["first_weight"] = 0.5 * rows["max_weight"]
        strength = np.where(rows["head"] == rows["layer"] % heads, 0.2 + 0.1 * rows["layer"], 0.02)
        rows["needle_score"] = np.clip(strength * (length / 512.0) ** -fade * rng.uniform(0.7, 1.3, len(rows)), 0, 1)
        parts.append(rows.assign(context_length=length, answer_position=length - 9))
    rows = pd.concat(parts, ignore_index=True)
    cell = rows.groupby(["context_length", "depth", "trial"]).ngroup()
    rows["score"] = (cell % 3 == 0).astype(float)
    rows["leading_digits"] = np.choose(cell % 3, [1.0, 0.4, 0.0])
    return rows.assign(
        status="ok",
        error=missing(rows),
        seconds=2.0,
        **run("key_attention", attention, **others),
    )


def best_elsewhere(scores: pd.DataFrame) -> pd.DataFrame:
    """The needle scores of one series, in each trial of the head that is best in the other trials."""
    parts: list[pd.DataFrame] = []
    for trial in scores["trial"].unique():
        here = scores["trial"] == trial
        layer, head = scores[~here].groupby(["layer", "head"])["needle_score"].mean().idxmax()
        parts.append(scores[here & (scores["layer"] == layer) & (scores["head"] == head)])
    return pd.concat(parts)


def everything(**others: Any) -> pd.DataFrame:
    """All three tasks under softmax and SSMax, with missing and failed cells."""
    first = niah(**others)
    first = fail(first, (first["context_length"] == 8192) & (first["depth"] == 0.5))
    first = fail(first, (first["context_length"] == 4096) & (first["depth"] == 0.0) & (first["trial"] == 1))
    second = niah(ATTENTIONS[1], reach=9000, **others)
    second = second[(second["context_length"] < 8192) | (second["depth"] < 1)]
    parts = [
        first,
        second,
        loss(**others),
        loss(ATTENTIONS[1], rise=0.1, **others),
        key_attention(**others),
        key_attention(ATTENTIONS[1], fade=0.2, **others),
    ]
    return as_stored(pd.concat([part.astype({"error": "object"}) for part in parts], ignore_index=True))


def as_stored(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the run columns the types that `read_results` gives them."""
    names = ["run", "checkpoint", "attention", "task", "dtype", "rope", "status"]
    return frame.astype(dict.fromkeys(names, "category"))
