"""What a task is: a grid of cells, and a way to measure some of them on a model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from ssmax_eval.corpus import Text, digest, read_texts
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity

if TYPE_CHECKING:
    from ssmax_eval.model import Model

Measure = Callable[[Sequence[Cell]], Iterable[Measurement]]
"""Measures cells of one context length together, and gives a measurement for each, in order, as soon as it can."""


def grid(default: Any = MISSING, *, factory: Any = MISSING) -> Any:
    """A field that says which cells there are but not what is in one: growing it keeps finished cells."""
    options = {"default": default} if factory is MISSING else {"default_factory": factory}
    return field(**options, metadata={"grid": True})


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """One way to measure a model. Every field can be set in YAML and from the command line."""

    kind: ClassVar[str]
    """Name in the registry."""
    about: ClassVar[str] = ""
    """One line for `ssmax-eval list`."""
    version: ClassVar[int] = 1
    """Raised when a number of the task changes its meaning, so that old cells are not reused in silence."""
    quantities: ClassVar[tuple[Quantity, ...]] = ()
    """What it measures, the headline first."""

    lengths: tuple[int, ...] = grid()
    """Context lengths in tokens; a length counts everything that the model sees, and the answer."""
    texts: tuple[str, ...] = ()
    """Text files, folders or JSONL; without any, the built-in text."""
    seed: int = 0
    """Decides every random draw."""

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 2:
            raise UserError(f"lengths must be 2 tokens or more; given {list(self.lengths)}")

    @abstractmethod
    def cells(self) -> list[Cell]:
        """The whole grid, in the order in which it is measured."""

    @abstractmethod
    def bind(self, model: "Model") -> Measure:
        """Get ready for a model; UserError when the text is too short, or the model lacks what is needed."""

    def batches(self, cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
        """Cells in groups of equal context length that are measured together: `size` of them run at a time."""
        batch: list[Cell] = []
        for cell in cells:
            if batch and (len(batch) == size or cell.context_length != batch[0].context_length):
                yield batch
                batch = []
            batch.append(cell)
        if batch:
            yield batch

    def read(self) -> list[Text]:
        """The texts that this task measures on."""
        return read_texts(self.texts)

    def identity(self) -> dict[str, Any]:
        """What decides the numbers in a cell, as plain values: every field outside the grid, and the text."""
        settings = {f.name: getattr(self, f.name) for f in fields(self) if not f.metadata.get("grid")}
        settings["texts"] = digest(self.read())
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()}
        return {"kind": self.kind, **plain}
