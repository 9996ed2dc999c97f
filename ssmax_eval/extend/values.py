"""What candidates came to, and paired differences between two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
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


NAN = float("nan")
NONE = Difference(NAN, NAN, NAN, NAN, NAN, 0)
"""Nothing that both measured."""


@dataclass(frozen=True)
class Values:
    """The stored cells of candidates, with their names as attention."""

    frame: pd.DataFrame
    asked: Asked

    def names(self) -> set[str]:
        """Return the candidates that have a finished cell."""
        return set(self.frame.loc[self.frame["status"] == "ok", "attention"].astype("str"))

    def error(self, name: str) -> str:
        """Return the first error of a candidate; "" without any."""
        own = self.frame[(self.frame["attention"] == name) & (self.frame["status"] == "failed")]
        return str(own["error"].iloc[0]) if len(own) else ""

    def where(self, *, length: int | None = None, held_out: bool = False) -> Values:
        """Return the rows of contexts of a `length`, and with `held_out` those of what chose nothing."""
        kept = self.frame["status"].notna()
        if length is not None:
            kept &= self.frame["context_length"] == length
        for column, count in (("document", CHOOSING), ("trial", TRIALS)) if held_out else ():
            if column in self.frame:
                number = self.frame[column].astype("Float64")
                kept &= (number.isna() | (number >= count)).astype(bool)
        return self._with(self.frame[kept])

    @cached_property
    def far(self) -> Values:
        """The loss at the far end alone, a row for each document."""
        return self._stretch(self.asked.far, self.asked.to)

    @cached_property
    def short(self) -> Values:
        """The loss within the training length alone, a row for each document."""
        return self._stretch(1, self.asked.trained - 1)

    def _stretch(self, first: int, last: int) -> Values:
        """The mean loss of every document over the positions `first` to `last`; failed ones stay without."""
        cell = ["run", "context_length", "document"]
        rows = self.frame[self.frame["task"] == "loss"]
        if "position" not in rows:
            return self._with(rows)
        means = rows[rows["position"].between(first, last)].groupby(cell, observed=True)["nll"].mean()
        rows = rows.drop_duplicates(cell).drop(columns="nll").merge(means.reset_index(), on=cell, how="left")
        return self._with(rows)

    def _with(self, rows: pd.DataFrame) -> Values:
        rows.attrs = self.frame.attrs
        return Values(rows, self.asked)

    def difference(self, quantity: str, name: str, base: str) -> Difference:
        """Return `name` minus `base` in a quantity, paired by cell, with its interval over independent units."""
        if self.frame.empty or not {name, base} <= self.names() or quantity not in self.frame:
            return NONE
        try:
            mine = self._with(self.frame[self.frame["series"].isin([name, base])])
            found = find(mine.frame, quantity)
            cells = matched(mine.frame, found, base, name)
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

    def seconds_per_token(self, name: str, base: str) -> float:
        """Return how much longer a token takes than under `base`, as a factor; the fastest document of each counts."""
        rows = self.frame[(self.frame["task"] == "loss") & (self.frame["status"] == "ok")]
        fastest = rows.groupby(rows["attention"].astype("str"))["seconds"].min()
        return float(fastest[name] / fastest[base]) if fastest.get(name) and fastest.get(base) else NAN


def values(plans: Mapping[str, Plan], asked: Asked) -> Values:
    """Read what the store has of candidates; `plans` are theirs by name."""
    names = {run.name: name for name, plan in plans.items() for run in plan.runs}
    folders = [plan.store.root / run.name for plan in plans.values() for run in plan.runs]
    frame = read_results(*(folder for folder in folders if folder.is_dir()))
    attrs = frame.attrs
    frame = frame[_asked_for(frame, plans)]
    named = frame["run"].astype("str").map(names).astype("category")
    # A frame that has its series is not looked through for other names.
    frame = frame.drop(columns=[COLUMN], errors="ignore").assign(attention=named, series=named, setting="", rope="")
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
