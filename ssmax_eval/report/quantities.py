"""What these results measure: the quantities that their tasks declare, and the rows that hold each.

A frame of `read_results` carries the declarations in `attrs["quantities"]`. A task that declares nothing, or whose
declarations were lost on the way, has every number among its columns drawn by length.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import pandas as pd
from pandas.api.types import infer_dtype

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.measurement import Quantity
from ssmax_eval.report.series import COORDINATES, PLACES, REQUIRED, labelled, quantities_of

SUMMARISED = "by_length"
"""The view of quantities that are in the summary, in comparisons and in the model card."""
POOLS = ("share", "prefix", "mean")
"""Ways to pool, in the order in which a report shows them."""
BOOKKEEPING = {
    *(*REQUIRED, *COORDINATES, *PLACES, "series", "setting", "seed", "family", "stored", "kind"),
    *("error", "seconds", "actual_length", "actual_depth", "prompt_digest", "document_digest", "bytes"),
}
"""Columns that are no measured numbers, whatever the task."""
NUMBERS = ("floating", "integer", "mixed-integer-float")


@dataclass(frozen=True)
class TaskQuantity:
    """A quantity, with the tasks of these results that measure it."""

    quantity: Quantity
    tasks: tuple[str, ...]
    """Kinds of task whose rows hold it; tasks that declare the same name, title and views are drawn alike."""
    label: str
    """Its title; with the task where two of these results share a title."""
    file: str
    """Begins the names of its files: the task's, and for all but the first quantity of a task its own."""

    @property
    def summarised(self) -> bool:
        """Whether it belongs to the summary and to comparisons; a view that is not known is shown by length."""
        from ssmax_eval.report.views import VIEWS  # it imports the figures, which import this module

        return any(view == SUMMARISED or view not in VIEWS for view in self.quantity.views)


def declared(frame: pd.DataFrame) -> list[TaskQuantity]:
    """Return every quantity that the tasks of a frame measure: shares first, then losses, then what else there is."""
    frame = labelled(frame)
    alike: dict[tuple[object, ...], tuple[Quantity, list[str]]] = {}
    first: dict[str, str] = {}
    for task in map(str, frame["task"].unique()):
        known = quantities_of(frame, task)
        for quantity in known or _plain(frame[frame["task"] == task]):
            first.setdefault(task, quantity.name)
            # Without a declaration, an equal name says nothing about an equal meaning.
            key = quantity.alike() if known else (task, quantity.name)
            alike.setdefault(key, (quantity, []))[1].append(task)
    titles = Counter(quantity.title for quantity, _ in alike.values())
    result = []
    for quantity, tasks in alike.values():
        task = min(tasks)
        label = quantity.title if titles[quantity.title] == 1 else f"{quantity.title} ({task})"
        file = task if first[task] == quantity.name else f"{task}-{quantity.name}"
        result.append(TaskQuantity(quantity, tuple(tasks), label, re.sub(r"[^\w.-]+", "-", file)))
    return sorted(result, key=lambda found: POOLS.index(found.quantity.pool) if found.quantity.pool in POOLS else 2)


def find(frame: pd.DataFrame, wanted: str | TaskQuantity | None = None, view: str = SUMMARISED) -> TaskQuantity:
    """Return the quantity of a name; without one, the first that declares the `view`.

    Raises UserError for a name that these results do not measure, and NothingMeasured where no quantity has the view.
    """
    if isinstance(wanted, TaskQuantity):
        return wanted
    known = declared(frame)
    if wanted is None:
        for found in known:
            if view in found.quantity.views:
                return found
        raise NothingMeasured(f"none of the tasks {_tasks(frame)} measures anything that is drawn as {view!r}")
    named = [found for found in known if found.quantity.name == wanted]
    if not named:
        names = ", ".join(sorted({found.quantity.name for found in known}))
        raise UserError(f"unknown quantity {wanted!r}; the tasks {_tasks(frame)} measure {names}")
    return max(named, key=lambda found: view in found.quantity.views)


def summarised(frame: pd.DataFrame) -> list[TaskQuantity]:
    """Return the quantities that the summary, the comparisons and the model card are about."""
    return [found for found in declared(frame) if found.summarised]


def rows_of(frame: pd.DataFrame, found: TaskQuantity) -> pd.DataFrame:
    """Return the rows of a quantity's tasks, failed cells among them; raise NothingMeasured if there are none."""
    frame = labelled(frame)
    mine, name = frame["task"].isin(found.tasks), found.quantity.name
    rows = frame if mine.all() else frame[mine]
    if name not in rows and len(rows) and (rows["status"] == "failed").all():
        return rows.assign(**{name: float("nan")})
    if rows.empty or name not in rows:
        raise NothingMeasured(f"{found.label} was not measured; these results hold {_tasks(frame)}")
    return rows


def measured(frame: pd.DataFrame, found: TaskQuantity) -> pd.DataFrame:
    """Return the rows that hold a quantity, without failed cells; raise NothingMeasured if there are none."""
    rows = rows_of(frame, found)
    rows = rows[rows["status"] == "ok"]
    if rows.empty:
        raise NothingMeasured(f"every cell of {' and '.join(found.tasks)} failed; see the column 'error'")
    where, outside = found.quantity.where, found.quantity.outside
    if where and set(where) <= set(rows):
        rows = rows[rows[where[0]] == rows[where[1]]]
    if outside and set(outside) <= set(rows):
        others = rows[rows[outside[0]] != rows[outside[1]]]
        rows = others if len(others) else rows
    rows = rows[rows[found.quantity.name].notna()]
    if rows.empty:
        raise NothingMeasured(f"no finished cell holds {found.label}")
    return rows.astype({found.quantity.name: "float64"})


def present(rows: pd.DataFrame, names: tuple[str, ...] | list[str]) -> list[str]:
    """Return those of the columns that these rows have."""
    return [name for name in names if name in rows and rows[name].notna().any()]


def units_of(rows: pd.DataFrame, found: TaskQuantity) -> list[str]:
    """Return the columns that tell independent repetitions apart: the declared ones, else the cell's, else the run."""
    own = present(rows, found.quantity.units) or present(rows, [*COORDINATES[1:]]) or ["run"]
    return [*present(rows, ["seed"]), *own]


DIGESTS = ("prompt_digest", "document_digest")
"""Columns with a digest of the very text that was measured, where it is stored."""
CLUSTER = "cluster"
"""The column that says which independent unit a value belongs to."""


def clustered(rows: pd.DataFrame, found: TaskQuantity) -> pd.DataFrame:
    """Add the column `cluster`: what is repeated independently, and what intervals are over.

    Of a series with several seeds it is the seed. Else it is the text where there are several, since the windows of a
    text are alike; else the trial with all its depths, which share a haystack, or the document.
    """
    parts = []
    for _, own in rows.groupby("series", observed=True, sort=False):
        names = _cluster(own, found)
        parts.append(own.groupby(names, observed=True, dropna=False, sort=False).ngroup())
    labels = pd.concat(parts).reindex(rows.index) if parts else pd.Series(dtype="int64")
    return rows.assign(**{CLUSTER: labels})


def cluster_names(rows: pd.DataFrame, found: TaskQuantity) -> list[str]:
    """Return what the clusters of each series are called, each name once: seed, text, trial, document."""
    called = {"source": "text"}
    names = []
    wanted = {*REQUIRED, "series", "seed", "source", *COORDINATES, *found.quantity.units, found.quantity.name}
    rows = rows_of(rows[[name for name in labelled(rows) if name in wanted]], found)
    rows = rows.drop(columns=found.quantity.name).drop_duplicates()
    for _, own in rows.groupby("series", observed=True, sort=False):
        own = own[own["status"] == "ok"] if (own["status"] == "ok").any() else own
        name = _cluster(own, found)[-1]
        names.append(called.get(name, name.replace("_", " ")))
    return list(dict.fromkeys(names))


def _cluster(own: pd.DataFrame, found: TaskQuantity) -> list[str]:
    """The columns that tell the clusters of one series apart, the one that names them last."""
    if "seed" in own and own["seed"].nunique() > 1:
        return ["seed"]
    units = units_of(own, found)
    if "source" in units and own["source"].nunique() > 1:
        return ["source"]
    # A digest among the units says which text is the same at several lengths.
    alone = found.quantity.pool == "prefix" or not set(DIGESTS).isdisjoint(units)
    length = [] if alone else present(own, ["context_length"])
    return [*length, *([name for name in units if name not in ("depth", "source")] or units)]


def beside(frame: pd.DataFrame, found: TaskQuantity) -> list[str]:
    """Return the columns that stand beside the first quantity of a task: its quantities without a view of their own."""
    if found.file not in found.tasks:
        return []
    same = [q for q in declared(frame) if not q.quantity.views and set(found.tasks) & set(q.tasks)]
    return [q.quantity.name for q in same if q.quantity.name in frame]


def _plain(rows: pd.DataFrame) -> list[Quantity]:
    """Quantities for a task that declares none: each column of numbers, and each of true and false as a share."""
    units = tuple(present(rows, ["document", "depth", "trial"])) or ("trial",)
    found = []
    for name in (name for name in rows if name not in BOOKKEEPING):
        values = rows[name].dropna()
        kind = infer_dtype(values, skipna=True) if len(values) else "empty"
        title = str(name).replace("_", " ")
        if kind == "boolean":
            found.append(Quantity(str(name), title, "share", pool="share", units=units, between=(0.0, 1.0), digits=2))
        elif kind in NUMBERS:
            found.append(Quantity(str(name), title, units=units))
    return found


def _tasks(frame: pd.DataFrame) -> str:
    return ", ".join(sorted(map(str, frame["task"].unique())))
