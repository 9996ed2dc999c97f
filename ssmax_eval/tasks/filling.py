"""Tasks whose context is one long list, of words or of edges: as many entries as fit, in an exact number of tokens."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ssmax_eval.corpus import Text
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.answering import AnswerTask, Ask, Prompt
from ssmax_eval.tasks.fitting import Fitter, TooShortError, settled
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.prompts import check_sentence


@dataclass(frozen=True)
class Filling:
    """How the prompt of a cell is filled."""

    body: Callable[[int, str], str]
    """Makes the message from a number of units and some words of padding, which stand at the end of the list's last
    line: there each takes one token, so that every length can be had."""
    answer_prefix: str
    """Begins the answer."""
    least: int
    """Smallest number of units."""
    expected: tuple[str, ...]
    """What the answer should hold."""
    about: Callable[[int], Mapping[str, Any]]
    """Says more of the prompt with a number of units, such as how many entries its list has."""


@dataclass(frozen=True, kw_only=True)
class FillingTask(AnswerTask):
    """What tasks share that fill the context with one list. A subclass defines `filling`, `fillable` and its fields."""

    fillable: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The fields that are sentences, and what may be filled in there, such as `{count}`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in self.fillable.items():
            check_sentence(name, getattr(self, name), known)

    @abstractmethod
    def filling(self, cell: Cell, frame: Frame) -> Filling:
        """Return how the prompt of a cell is filled.

        What is drawn for the smallest number of units must not depend on the length, but for its order: then the
        smallest length that a message names does work.
        """

    def read(self) -> list[Text]:
        """Read no text: everything is drawn."""
        return []

    def asking(self, frame: Frame) -> Ask:
        fitter = Fitter(frame, "the shortest list, the question")
        others = self.without_length()
        smallest: dict[int, int] = {}

        def needed(length: int) -> int:
            """The length that the shortest prompts of all cells need, by the rules of a length."""
            fillings = (self.filling(replace(cell, context_length=length), frame) for cell in others)
            return max(self._tokens(frame, filling) for filling in fillings)

        def ask(cell: Cell) -> Prompt:
            length = cell.context_length
            if length not in smallest:
                smallest[length] = settled(needed, length)
            if (least := smallest[length]) > length:
                raise TooShortError(length, fitter.what, least)
            filling = self.filling(cell, frame)

            def build(units: int, padding: str) -> str:
                return self._text(frame, filling, units, padding)

            found = fitter.fit(build, length - self.budget, least=filling.least, budget=self.budget)
            return Prompt(found.text, found.ids, filling.expected, filling.about(found.units))

        return ask

    def _tokens(self, frame: Frame, filling: Filling) -> int:
        """Tokens of the shortest prompt and the answer. UserError where the right answer is longer than its budget."""
        if (answer := len(frame.ids(" " + ", ".join(filling.expected)))) > self.max_new_tokens:
            raise UserError(
                f"max_new_tokens must be {answer} or more, which the right answer takes; given {self.max_new_tokens}"
            )
        return len(frame.ids(self._text(frame, filling, filling.least, ""))) + self.budget

    def _text(self, frame: Frame, filling: Filling, units: int, padding: str) -> str:
        return frame.text(filling.body(units, padding), "" if self.thinking else filling.answer_prefix)


def paragraphs(*parts: str) -> str:
    """Return the parts that are not empty, with a blank line between them."""
    return "\n\n".join(filter(None, parts))
