"""What a claim is about: one number for each seed and unit (document, trial, step) of a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np
import pandas as pd

from ssmax_eval.report.quantities import find
from ssmax_eval.report.tables import best_rows
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

    @cached_property
    def parts(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        """The finished rows of each task, family and RoPE, with the columns that the task has."""
        finished = self.rows[self.rows["status"] == "ok"]
        groups = finished.groupby(["task", "family", "rope"], observed=True)
        return {(str(t), str(f), str(r)): part.dropna(axis="columns", how="all") for (t, f, r), part in groups}

    def of_family(self, family: str) -> list[Trained]:
        """The trainings of a family."""
        return [t for t in self.trained if t.family == family]

    @property
    def train_length(self) -> int:
        """Tokens that the checkpoints were trained with."""
        return int(self.rows["train_length"].iloc[0])


class Measure(Protocol):
    """Something that can be read off the evidence."""

    unit: ClassVar[str]
    """What one value belongs to, in the plural."""
    percent: ClassVar[bool]
    """Whether it is a share that is shown in per cent."""

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        """One number for each `seed` and further levels of the index, which name the unit; may be empty."""


@dataclass(frozen=True)
class TrainingLoss:
    """Loss on plain text in the last tenth of the training, in nats per token, by logged step."""

    unit: ClassVar[str] = "logged steps"
    percent: ClassVar[bool] = False

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        """By `seed` and `step`."""
        curves = {t.seed: t.curve.set_index("step")["loss_text"] for t in evidence.of_family(family)}
        parts = {seed: curve[curve.index > (1 - LAST_PART) * curve.index.max()] for seed, curve in curves.items()}
        return pd.concat(parts, names=["seed"]) if parts else NOTHING


@dataclass(frozen=True)
class Explained:
    """Share of the variance of the factors learned for every n that a straight line explains (R²), by layer.

    A line in log n, or in n.
    """

    in_log: bool

    unit: ClassVar[str] = "layers"
    percent: ClassVar[bool] = False

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        """By `seed` and `layer`."""
        tables = {t.seed: found for t in evidence.of_family(family) if (found := t.free_factors())}
        shares = {
            (seed, layer): np.corrcoef(np.log(n) if self.in_log else n, factors)[0, 1] ** 2
            for seed, (n, table) in tables.items()
            for layer, factors in enumerate(table)
        }
        return pd.Series(shares, dtype="float64").rename_axis(["seed", "layer"]) if shares else NOTHING


@dataclass(frozen=True)
class Loss:
    """Mean loss over a stretch of positions, in nats per token, by document."""

    rope: str
    first: int
    last: int
    """Both included; the first token has no loss and is position 0."""
    length: int | None = None
    """Context length of the documents, in tokens; where there are none such, the longest there are."""

    unit: ClassVar[str] = "documents"
    percent: ClassVar[bool] = False

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        """By `seed`, `source` and `document`, without documents that lack one of the positions."""
        rows = evidence.parts.get(("loss", family, self.rope))
        if rows is None:
            return NOTHING
        lengths = rows["context_length"]
        length = self.length if (lengths == self.length).any() else lengths.max()
        rows = rows[(rows["context_length"] == length) & rows["position"].between(self.first, self.last)]
        table = rows.groupby(["seed", "source", "document"], observed=True)["nll"].agg(["mean", "count"])
        return table["mean"][table["count"] == self.last - self.first + 1]


@dataclass(frozen=True)
class Found:
    """Share of needles found at a length, by trial."""

    rope: str
    length: int
    """Tokens."""

    unit: ClassVar[str] = "trials"
    percent: ClassVar[bool] = True

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        """By `seed`, `depth` and `trial`."""
        rows = evidence.parts.get(("niah", family, self.rope))
        if rows is None:
            return NOTHING
        rows = rows[rows["context_length"] == self.length]
        return rows.set_index(["seed", "depth", "trial"])["score"].astype("float64")


@dataclass(frozen=True)
class NeedleWeight:
    """Weight of the best head on the needle's digits at a length, by trial.

    The best head of a trial is the one with the highest mean in the other trials of its checkpoint, at all lengths.
    """

    rope: str
    length: int
    """Tokens."""

    unit: ClassVar[str] = "trials"
    percent: ClassVar[bool] = False

    def values(self, evidence: Evidence, family: str) -> pd.Series:
        """By `seed`, `depth` and `asked`, the trial."""
        rows = evidence.parts.get(("key_attention", family, self.rope))
        if rows is None:
            return NOTHING
        found = find(rows.assign(series=rows["family"]), "needle_score")
        best = best_rows(rows.assign(series=rows["family"], asked=rows["trial"]), found)
        best = best[best["context_length"] == self.length]
        return best.set_index(["seed", "depth", "asked"])["needle_score"].astype("float64")
