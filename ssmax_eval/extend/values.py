"""What candidates came to, and paired differences between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.extend.rungs import CHOOSING, TRIALS, Asked
from ssmax_eval.positions.label import COLUMN
from ssmax_eval.report import statistics
from ssmax_eval.report.matching import matched
from ssmax_eval.report.quantities import CLUSTER, clustered, find
from ssmax_eval.run.plan import Plan
from ssmax_eval.store import read_results

if TYPE_CHECKING:
    import pandas as pd


class Difference(NamedTuple):
    """A candidate minus another, over what both measured alike."""

    before: float
    """Mean of the other."""
    after: float
    """Mean of the candidate."""
    mean: float
    low: float
    """95 %, as `high`; NaN below five independent texts or trials."""
    high: float
    n: int
    """Cells that both have."""

    def better(self, sign: int) -> bool:
        """Whether the interval says that it is better; `sign` is 1 where more is better, -1 where less is."""
        return self.low > 0 if sign > 0 else self.high < 0

    def worse(self, sign: int) -> bool:
        """Whether the interval says that it is worse."""
        return self.better(-sign)


NONE = Difference(*[float("nan")] * 5, 0)


@dataclass(frozen=True)
class Values:
    """The stored cells of candidates, by name, cut to the stretches of positions that are asked about."""

    frame: pd.DataFrame
    asked: Asked

    def names(self) -> set[str]:
        """Return the candidates that have a finished cell."""
        return set(self.frame.loc[self.frame["status"] == "ok", "attention"].astype("str"))

    def error(self, name: str) -> str:
        """Return the first error of a candidate; "" without any."""
        own = self.frame[(self.frame["attention"] == name) & (self.frame["status"] == "failed")]
        return str(own["error"].iloc[0]) if len(own) else ""

    def where(self, *, first: int = 0, last: int | None = None, length: int | None = None, held_out: bool = False,
              choosing: bool = False) -> Values:  # fmt: skip
        """Return the rows of positions `first` to `last`, and of contexts of a `length`, where these are given.

        `held_out` keeps the documents and trials that chose nothing; `choosing` those that every candidate has.
        """
        frame, kept = self.frame, self.frame["status"].notna()
        if "position" in frame and (first or last is not None):
            position = frame["position"].astype("Float64")
            kept &= (position.isna() | position.between(first, last or self.asked.to)).astype(bool)
        if length is not None:
            kept &= frame["context_length"] == length
        for column, count in (("document", CHOOSING), ("trial", TRIALS)):
            if column in frame and (held_out or choosing):
                number = frame[column].astype("Float64")
                kept &= (number.isna() | ((number >= count) if held_out else (number < count))).astype(bool)
        rows = frame[kept]
        rows.attrs = frame.attrs
        return Values(rows, self.asked)

    @property
    def far(self) -> Values:
        """The far end alone."""
        return self.where(first=self.asked.far)

    @property
    def short(self) -> Values:
        """Positions within the training length alone."""
        return self.where(first=1, last=self.asked.trained - 1)

    def difference(self, quantity: str, name: str, base: str) -> Difference:
        """Return `name` minus `base` in a quantity, paired by cell, with its interval over independent units."""
        if self.frame.empty or not {name, base} <= self.names() or quantity not in self.frame:
            return NONE
        try:
            found = find(self.frame, quantity)
            cells = matched(self._named(found.tasks), found, base, name)
        except NothingMeasured:
            return NONE
        both = cells[cells["match"] == "both"]
        if both.empty:
            return NONE
        both = clustered(both.assign(change=both["value_series"] - both["value_baseline"], series=name), found)
        paired = statistics.paired_shares if found.quantity.pool == "share" else statistics.paired_means
        change = both["change"].to_numpy("float64")
        limits = paired(change, both[CLUSTER].to_numpy("int64"))
        before, after = float(both["value_baseline"].mean()), float(both["value_series"].mean())
        return Difference(before, after, float(change.mean()), limits.low, limits.high, len(both))

    def _named(self, tasks: tuple[str, ...]) -> pd.DataFrame:
        """The rows of some tasks, with the candidates' names as series."""
        rows = self.frame[self.frame["task"].isin(tasks)]
        rows = rows.assign(series=rows["attention"].astype("str").astype("category"), setting="")
        rows.attrs = self.frame.attrs
        return rows

    def seconds_per_token(self, name: str, base: str) -> float:
        """Return how much longer a token takes than under `base`, as a factor, on the documents that both measured."""
        if name == base:
            return 1.0
        rows = self.frame[(self.frame["task"] == "loss") & (self.frame["status"] == "ok")]
        cells = rows.drop_duplicates(["attention", "context_length", "document"])
        wide = cells.pivot(index=["context_length", "document"], columns="attention", values="seconds")
        if not {name, base} <= set(wide):
            return float("nan")
        both = wide[[name, base]].dropna()
        total = float(both[base].sum())
        return float(both[name].sum()) / total if total else float("nan")


def values(plans: Mapping[str, Plan], asked: Asked) -> Values:
    """Read what the store has of candidates; `plans` are theirs by name."""
    names = {run.name: name for name, plan in plans.items() for run in plan.runs}
    folders = [plan.store.root / run.name for plan in plans.values() for run in plan.runs]
    frame = read_results(*(folder for folder in folders if folder.is_dir()))
    attrs = frame.attrs
    frame = frame[_asked_for(frame, plans)]
    named = frame["run"].astype("str").map(names).astype("category")
    frame = frame.drop(columns=[COLUMN], errors="ignore").assign(attention=named, rope="")
    frame.attrs = attrs
    return Values(frame, asked)


def _asked_for(frame: pd.DataFrame, plans: Mapping[str, Plan]) -> pd.Series:
    """Say of each row whether its cell is one of the plans', so that what else is in the store changes nothing."""
    kept = frame["status"].notna()
    runs = frame["run"].astype("str")
    for plan in plans.values():
        for run, cells in plan.cells.items():
            mine = runs == run.name
            for column in ("context_length", "document", "trial"):
                wanted = {getattr(cell, column) for cell in cells} - {None}
                if wanted:
                    kept &= ~mine | frame[column].isin(wanted)
    return kept
