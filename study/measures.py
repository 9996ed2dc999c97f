"""What a claim is about: one number for each seed and unit (document, trial, step) of a family."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd

from study.families import for_drawing
from study.trained import Trained

NOTHING = pd.Series(dtype="float64")
LAST_PART = 0.1
"""The training loss is that of the last tenth of the steps."""


@dataclass(frozen=True)
class Evidence:
    """All that was trained and measured."""

    rows: pd.DataFrame
    """Results, as from `of_families`."""
    trained: Sequence[Trained]
    runs: Mapping[str, Mapping[str, Any]]
    """What is on record for each run, as from `read_runs`."""

    @cached_property
    def parts(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """The finished rows of each task, family and RoPE, with the columns that the task has."""
        finished = self.rows[self.rows["status"] == "ok"]
        groups = finished.groupby(["task", "family", "rope"], observed=True)
        return {(str(t), str(f), str(r)): part.dropna(axis="columns", how="all") for (t, f, r), part in groups}

    @property
    def train_length(self) -> int:
        """Tokens that the checkpoints were trained with."""
        return int(self.rows["train_length"].iloc[0])


class Quantity(Protocol):
    """Something that can be read off the evidence."""

    unit: str
    """What one value belongs to, in the plural."""
    percent: bool
    """Whether it is a share."""

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        """One number for each `seed` and further levels of the index, which name the unit; may be empty."""

    def commands(self, evidence: Evidence, family: str) -> list[str]:
        """What was typed to get them."""


class _Training:
    """Something that is read off the record of a training."""

    percent = False

    def commands(self, evidence: Evidence, family: str) -> list[str]:
        return [t.record["command"] for t in evidence.trained if t.family == family]


@dataclass(frozen=True)
class TrainingLoss(_Training):
    """Loss on plain text in the last tenth of the training, in nats per token, by logged step."""

    unit = "logged steps"

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        parts = {t.seed: t.curve.set_index("step")["loss_text"] for t in evidence.trained if t.family == family}
        parts = {seed: curve[curve.index > (1 - LAST_PART) * curve.index.max()] for seed, curve in parts.items()}
        return pd.concat(parts, names=["seed"]) if parts else NOTHING


@dataclass(frozen=True)
class Explained(_Training):
    """Share of the variance of the factors learned for every n that a straight line explains (R²), by layer.

    A line in log n, or in n.
    """

    in_log: bool

    unit = "layers"

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        tables = {t.seed: found for t in evidence.trained if t.family == family and (found := t.free_factors())}
        shares = {
            (seed, layer): np.corrcoef(np.log(n) if self.in_log else n, factors)[0, 1] ** 2
            for seed, (n, table) in tables.items()
            for layer, factors in enumerate(table)
        }
        return pd.Series(shares, dtype="float64").rename_axis(["seed", "layer"]) if shares else NOTHING


@dataclass(frozen=True)
class _Measured:
    """Something that a task measured, with one kind of RoPE."""

    rope: str

    task = ""

    def rows(self, evidence: Evidence, family: str) -> pd.DataFrame | None:
        """The finished rows of the task; None where there are none."""
        return evidence.parts.get((self.task, family, self.rope))

    def commands(self, evidence: Evidence, family: str) -> list[str]:
        rows = self.rows(evidence, family)
        sessions = [] if rows is None else [evidence.runs[name]["sessions"] for name in rows["run"].unique()]
        return [shlex.join(session["command"]) for group in sessions for session in group]


@dataclass(frozen=True)
class Loss(_Measured):
    """Mean loss over a stretch of positions, in nats per token, by document."""

    first: int
    last: int
    """Both included; the first token has no loss and is position 0."""
    length: int | None = None
    """Context length of the documents, in tokens; where there are none such, the longest there are."""

    task = "loss"
    unit = "documents"
    percent = False

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        rows = self.rows(evidence, family)
        if rows is None:
            return NOTHING
        lengths = rows["context_length"]
        length = self.length if (lengths == self.length).any() else lengths.max()
        rows = rows[(rows["context_length"] == length) & rows["position"].between(self.first, self.last)]
        table = rows.groupby(["seed", "source", "document"], observed=True)["nll"].agg(["mean", "count"])
        return table["mean"][table["count"] == self.last - self.first + 1]


@dataclass(frozen=True)
class Found(_Measured):
    """Share of needles found at a length (tokens), by trial."""

    length: int

    task = "niah"
    unit = "trials"
    percent = True

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        rows = self.rows(evidence, family)
        if rows is None:
            return NOTHING
        rows = rows[rows["context_length"] == self.length]
        return rows.set_index(["seed", "depth", "trial"])["score"].astype("float64")


@dataclass(frozen=True)
class NeedleWeight(_Measured):
    """Weight of the best head on the needle's digits at a length (tokens), by trial.

    The best head is the one with the highest mean over all lengths of its checkpoint.
    """

    length: int

    task = "key_attention"
    unit = "trials"
    percent = False

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        rows = self.rows(evidence, family)
        if rows is None:
            return NOTHING
        kept = rows.assign(asked=rows["trial"])
        best = for_drawing(kept[kept["position"] == kept["answer_position"]])
        best = best[(best["head"] == 0) & (best["context_length"] == self.length)]
        return best.set_index(["seed", "depth", "asked"])["needle_score"].astype("float64")
