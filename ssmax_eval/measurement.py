"""What is measured: a cell says where, a measurement says what was found there."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ssmax_eval.errors import shown

Scalar = float | int | str | bool | None


@dataclass(frozen=True)
class Cell:
    """The atom of record: one point of a task's grid. A coordinate that a task does not have is None."""

    context_length: int
    """Tokens that the model sees, the answer included."""
    depth: float | None = None
    """Wanted place of the needle: 0 is the start of the haystack, 1 its end."""
    trial: int | None = None
    """Number of the repetition, from 0."""
    document: int | None = None
    """Number of the document, from 0."""
    extra: tuple[tuple[str, Scalar], ...] = ()
    """Coordinates of a task's own, by name; `Cell.of` fills them in."""

    @classmethod
    def of(cls, context_length: int, **coordinates: Any) -> "Cell":
        """Return the cell at these coordinates, of which a task may have its own: `Cell.of(512, trial=0, hops=2)`."""
        known = {f.name for f in fields(cls)} - {"extra"}
        own = tuple(sorted((name, value) for name, value in coordinates.items() if name not in known))
        return cls(context_length, **{n: v for n, v in coordinates.items() if n in known}, extra=own)

    def coordinates(self) -> dict[str, Any]:
        """The coordinates that this cell has, a task's own last."""
        names = ("context_length", "depth", "trial", "document")
        known = {name: value for name in names if (value := getattr(self, name)) is not None}
        return {**known, **dict(self.extra)}


@dataclass(frozen=True)
class Measurement:
    """What one cell gave: values of the cell as a whole, and a table of rows; or the error it failed with."""

    cell: Cell
    values: Mapping[str, Scalar] = field(default_factory=dict)
    """One value a name, the same for every row of the cell."""
    rows: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    """Columns of equal length; empty for a task that measures one thing a cell."""
    error: str | None = None
    """Why the cell failed. A failure is not a miss: it has no values."""
    seconds: float = 0.0
    """Wall-clock time that the cell took; a batch divides its time evenly."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.rows.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of unequal length: { {k: len(v) for k, v in self.rows.items()} }")

    def finite(self) -> bool:
        """Whether every number is finite; a measurement that is not is a failure."""
        columns = [*self.rows.values(), list(self.values.values())]
        return all(math.isfinite(v) for column in columns for v in column if isinstance(v, float))

    def to_json(self) -> str:
        """One line of JSON, without the line's end."""
        record: dict[str, Any] = {"cell": self.cell.coordinates(), "seconds": round(self.seconds, 3)}
        if self.error is not None:
            record["error"] = self.error
        else:
            record |= {"values": dict(self.values), "rows": {k: _column_to_json(v) for k, v in self.rows.items()}}
        return json.dumps(record, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> "Measurement":
        """Read back what `to_json` wrote."""
        return cls.from_record(json.loads(line))

    @classmethod
    def from_record(cls, record: Any) -> "Measurement":
        """Check what JSON holds of a measurement, and return it. ValueError that says what is wrong."""
        parts = _mapping(record, "the record")
        if unknown := parts.keys() - {"cell", "seconds", "error", "values", "rows"}:
            raise ValueError(f"unknown entries {sorted(unknown)}")
        seconds, error = parts.get("seconds"), parts.get("error")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not abs(seconds) < LARGEST:  # nan too
            raise ValueError(f"seconds must be a number; got {shown(seconds)}")
        if error is not None and not isinstance(error, str):
            raise ValueError(f"error must be a text; got {shown(error)}")
        values = _mapping(parts.get("values", {}), "values")
        _check_scalars(values.values(), "values")
        rows = {
            name: _column_from_json(name, column) for name, column in _mapping(parts.get("rows", {}), "rows").items()
        }
        return cls(_cell(parts.get("cell")), values, rows, error, seconds)


@dataclass(frozen=True)
class Quantity:
    """One of the numbers that a task measures: what it is called, what it means, and how a report treats it.

    A task declares its quantities, the headline first. The description of every run carries them, so that reports
    know no task by name.
    """

    name: str
    """Column of the results that holds it."""
    title: str
    """What it is, for captions and axes: "needles found"."""
    unit: str = ""
    """"share", "nats per token", "attention weight", ...; empty for a plain number."""
    better: str = ""
    """"higher" or "lower"; empty where neither is better."""
    pool: str = "mean"
    """How the values of a series become one: "share" (of zeros and ones), "mean" (over units), or "prefix" (the mean
    over the first L positions of each unit, for every L)."""
    units: tuple[str, ...] = ("trial",)
    """Columns that tell independent repetitions apart, which intervals are over; those that are not there are passed
    over."""
    same: tuple[str, ...] = ()
    """Columns that agree where two series measured the very same thing; differences are taken there alone."""
    views: tuple[str, ...] = ("by_length",)
    """Figures and tables that show it, by their names in `report.views`. With "by_length" it is also in the summary
    and in comparisons; without any it is a column beside the headline."""
    where: tuple[str, str] | None = None
    """Two columns that agree in the rows that count; None: all rows count."""
    outside: tuple[str, str] | None = None
    """Two columns that agree in the rows that do not count, where there are others; None: all rows count."""
    best: tuple[str, ...] = ()
    """Columns of rows that compete, such as layer and head: the best combination stands for all of them."""
    between: tuple[float | None, float | None] = (None, None)
    """Smallest and largest possible value. Intervals end there, and figures show the whole of it where both are
    known."""
    log: bool = False
    """Whether figures draw it on a log scale."""
    digits: int = 3
    """Decimals that tables show."""
    section: str = ""
    """Heading of the report's section that shows it; empty: the task's name."""
    about: str = ""
    """What it is in a sentence, for the head of that section."""

    def alike(self) -> tuple[object, ...]:
        """What two tasks share whose numbers are drawn in one figure: the name, the title and the views."""
        return self.name, self.title, self.views

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Quantity":
        """Read back what `to_json` gave; fields of a newer version are left out."""
        known = {f.name for f in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in record.items() if name in known
        }
        return cls(**{"title": str(record["name"]), **values})

    @staticmethod
    def is_record(record: Any) -> bool:
        """Whether this is what `to_json` gives, of this or of a newer version."""
        if not isinstance(record, dict) or "name" not in record:
            return False
        texts = (record.get(name, "") for name in ("name", "title", "unit", "better", "pool", "section", "about"))
        names = [record.get(name, []) for name in ("units", "same", "views", "best")]
        pairs = [found for name in ("where", "outside") if (found := record.get(name)) is not None]
        between, digits = record.get("between", [None, None]), record.get("digits", 3)
        return (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(part, list) and all(isinstance(one, str) for one in part) for part in names + pairs)
            and all(len(pair) == 2 for pair in pairs)
            and isinstance(between, list)
            and len(between) == 2
            and all(end is None or type(end) in (int, float) for end in between)
            and type(digits) is int
            and 0 <= digits <= 20
            and type(record.get("log", False)) is bool
        )


DIGITS = 6
"""Significant ones of the numbers in rows that are stored: what follows differs with the order of float32 sums."""


def _column_to_json(column: Sequence[Scalar]) -> Any:
    """Return a column as JSON holds it: numbers to DIGITS, and whole ones that count up by one as their two ends."""
    values = [float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for value in column]
    if len(values) > 2 and type(values[0]) is int and values == list(range(values[0], values[0] + len(values))):
        return {"from": values[0], "to": values[-1]}
    return values


def _column_from_json(name: str, column: Any) -> Sequence[Scalar]:
    """Return what `_column_to_json` was given. ValueError where this is no column."""
    if isinstance(column, dict):
        ends = column.get("from"), column.get("to")
        if column.keys() != {"from", "to"} or not all(type(end) is int for end in ends):
            raise ValueError(f"column {name!r} must be a list, or count up between whole numbers; got {shown(column)}")
        if not 0 <= column["to"] - column["from"] < LONGEST or abs(column["from"]) >= LARGEST:
            raise ValueError(f"column {name!r} must count up over at most {LONGEST:,} rows; got {shown(column)}")
        return range(column["from"], column["to"] + 1)
    if not isinstance(column, list):
        raise ValueError(f"column {name!r} must be a list; got {type(column).__name__}")
    _check_scalars(column, f"column {name!r}")
    return column


def _mapping(found: Any, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError(f"{what} must be a mapping; got {type(found).__name__}")
    return found


def _check_scalars(values: Collection[Any], what: str) -> None:
    """ValueError where one is no plain value, or no finite number."""
    kinds = set(map(type, values))
    if not kinds <= {float, int, str, bool, type(None)}:
        raise ValueError(f"{what} must hold numbers, texts and truth values; got {kinds}")
    if float in kinds and not all(math.isfinite(value) for value in values if type(value) is float):
        raise ValueError(f"{what} must hold finite numbers")
    if int in kinds and not all(abs(value) < LARGEST for value in values if type(value) is int):
        raise ValueError(f"{what} must hold numbers below 2^63")
    if str in kinds and any("\ud800" <= letter <= "\udfff" for v in values if type(v) is str for letter in v):
        raise ValueError(f"{what} must hold whole characters")


LARGEST = 2**63
"""Whole numbers are smaller than this, in either direction, so that a column of them has one type."""
LONGEST = 10_000_000
"""Rows of the longest column."""
COUNTS = {"context_length", "trial", "document"}
"""Coordinates that are whole numbers."""


def _cell(record: Any) -> Cell:
    """A cell from its coordinates. ValueError where they are not those of a cell."""
    coordinates = _mapping(record, "the cell")
    _check_scalars(coordinates.values(), "the cell")
    for name in COUNTS & coordinates.keys():
        if type(coordinates[name]) is not int:
            raise ValueError(f"{name} must be a whole number; got {shown(coordinates[name])}")
    if coordinates.get("context_length", 1) < 1:
        raise ValueError(f"context_length must be 1 or more; got {shown(coordinates['context_length'])}")
    if type(coordinates.get("depth", 0)) not in (int, float):
        raise ValueError(f"depth must be a number; got {shown(coordinates['depth'])}")
    try:
        return Cell.of(**coordinates)
    except TypeError:
        raise ValueError(f"these are not the coordinates of a cell: {shown(coordinates)}") from None
