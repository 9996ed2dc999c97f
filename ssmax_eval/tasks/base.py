"""What a task is: a grid of cells, and a way to measure some of them on a model."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ssmax_eval.corpus import Text, digest, filler, read_texts, shuffled
from ssmax_eval.errors import UserError, shown
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.tasks.catalogue import TASKS
from ssmax_eval.user_code import digest as code_digest

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint
    from ssmax_eval.model import Model

Measure = Callable[[Sequence[Cell]], Iterable[Measurement]]
"""Measures cells of one context length together, and gives a measurement for each, in order, as soon as it can."""

RESERVED = {"kind", "version", "code"}
"""What a run's identity says of a task besides its fields."""
PRESET = re.compile(r"[\w.-]{0,60}")
"""Names that a preset may have."""
HEAD = 10
"""Rows of a cell's table that are shown."""


def grid(default: Any = MISSING, *, factory: Any = MISSING) -> Any:
    """A field that decides which cells there are, and no number in one: changing it keeps finished cells."""
    options = {"default": default} if factory is MISSING else {"default_factory": factory}
    return field(**options, metadata={"grid": True})


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One way to measure a model. Every field can be set in YAML and from the command line.

    A subclass is a frozen, keyword-only dataclass that defines `cells`, `bind` and `quantities`.
    """

    kind: ClassVar[str]
    """Its name: that of the class in small letters, `niah_dense` for `NiahDense`."""
    version: ClassVar[int] = 1
    """Raised when a number of the task changes its meaning, so that old cells are not reused in silence."""
    looks_into_attention: ClassVar[bool] = False
    """Whether it measures attention weights, which a model that is not rewritten does not show."""
    quantities: ClassVar[tuple[Quantity, ...]] = ()
    """The numbers that it measures, the headline first; reports are made from this alone."""

    lengths: tuple[int, ...] = grid()
    """Context lengths in tokens; a length counts everything that the model sees, and the answer."""
    texts: tuple[str, ...] = ()
    """Text files, folders or JSONL; without any, the built-in text."""
    seed: int = 0
    """Decides every random draw."""
    preset: str = ""
    """Name of these settings in results and figures, such as `ruler_multikey_2`; empty: the name of the task."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" not in vars(cls):
            cls.kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 2:
            raise UserError(f"lengths must be 2 tokens or more; given {list(self.lengths)}")
        if not PRESET.fullmatch(self.preset):
            raise UserError(
                f"preset must be a name of letters, digits, dots, hyphens and underscores; given {shown(self.preset)}"
            )

    @property
    def name(self) -> str:
        """What it is called in results: its preset, or else its kind."""
        return self.preset or self.kind

    def numbers(self) -> list[Quantity]:
        """Return the quantities as a run declares them: their titles name the preset, where there is one."""
        said = f" ({self.preset})" if self.preset else ""
        return [replace(quantity, title=quantity.title + said) for quantity in self.quantities]

    def needs(self) -> str:
        """Return what the user has to give before this can be measured: an option, and what it takes.

        "" where nothing is missing, as here. A task of a suite that needs something is left out of it.
        """
        return ""

    def check_given(self) -> None:
        """Raise UserError where something must still be given; see `needs`."""
        if need := self.needs():
            raise UserError(f"task {self.name!r} needs {need}")

    @abstractmethod
    def cells(self) -> list[Cell]:
        """Return the whole grid, in the order in which it is measured."""

    @abstractmethod
    def bind(self, model: "Model") -> Measure:
        """Return a function that measures cells on the model.

        UserError when the text is too short, or the model lacks what is needed.
        """

    def prompt(self, cell: Cell, tokenizer: Any) -> str:
        """Return the exact text that the model was given in a cell, up to where its answer begins.

        UserError for a task whose cells have no prompt, as here.
        """
        raise UserError(f"a cell of task {self.kind!r} has no prompt; try `ssmax-eval show`")

    def prompt_digest(self, cell: Cell, tokenizer: Any) -> str:
        """Return the `prompt_digest` that a cell would be stored with today; empty for a task that stores none."""
        return ""

    def show(self, measurement: Measurement, tokenizer: Any) -> str:
        """Return what a reader should see of a finished cell: here its values, and the first rows of its table."""
        lines = [f"{name:<16} {value}" for name, value in measurement.values.items()]
        if columns := measurement.rows:
            count = len(next(iter(columns.values())))
            rows = list(zip(*(column[:HEAD] for column in columns.values()), strict=True))
            lines += ["  ".join(f"{name:>14}" for name in columns)]
            lines += ["  ".join(f"{_short(value):>14}" for value in row) for row in rows]
            lines += [f"... {count - HEAD} more rows"] if count > HEAD else []
        return "\n".join(lines)

    def batches(self, cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
        """Yield cells in groups that are measured together: of one context length, `size` of them at most."""
        batch: list[Cell] = []
        for cell in cells:
            if batch and (len(batch) == size or cell.context_length != batch[0].context_length):
                yield batch
                batch = []
            batch.append(cell)
        if batch:
            yield batch

    def together(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """Return cells in groups whose contexts begin alike, so that one process should measure all of a group.

        Here: cells that differ in depth alone.
        """
        groups: dict[Cell, list[Cell]] = {}
        for cell in cells:
            groups.setdefault(replace(cell, depth=None), []).append(cell)
        return list(groups.values())

    def read(self) -> list[Text]:
        """Read the texts that this task measures on. UserError where they cannot be read."""
        return read_texts(self.texts)

    def filler(self) -> str:
        """Return all texts as one, for haystacks; the built-in ones in an order drawn from the seed."""
        return filler(self.read() if self.texts else shuffled(self.read(), self.seed))

    def settings(self) -> dict[str, Any]:
        """Return every field outside the grid as a plain value; of the texts, a digest of their content."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if not f.metadata.get("grid")}
        values["texts"] = digest(self.read())
        if not self.preset:
            del values["preset"]  # so that runs keep the identity that they had before there were presets
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def places(self) -> dict[str, str]:
        """Return the fields that name a file, by which it can be found again. In `settings` stands its digest."""
        return {}

    def on(self, checkpoint: "Checkpoint") -> "Task":
        """Return the task as a checkpoint is asked: itself, unless its tokenizer decides which cells there are."""
        return self

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers in a cell: kind, version and settings; of a user's own task also its code."""
        own = {} if TASKS.name_of(type(self)) else {"code": code_digest(type(self))}
        return {"kind": self.kind, "version": self.version, **own, **self.settings()}

    def of_checkpoint(self, checkpoint: "Checkpoint") -> dict[str, Any]:
        """Return what else of a checkpoint decides the numbers of this task, besides its fingerprint: nothing, here.

        It becomes a part of what a run says of its task.
        """
        return {}

    def grid_settings(self) -> dict[str, Any]:
        """Return the fields that decide which cells there are, as plain values."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata.get("grid")}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
