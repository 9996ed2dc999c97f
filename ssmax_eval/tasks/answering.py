"""Tasks whose cells are prompts that a model answers in its own words: the grid, the lengths, the scores."""

import json
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from ssmax_eval.corpus import text_digest
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.model import Request
from ssmax_eval.tasks.ahead import Ahead
from ssmax_eval.tasks.base import Measure, Task, grid
from ssmax_eval.tasks.chat import chats, dated
from ssmax_eval.tasks.fitting import TooShortError, settled
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.scoring import identified, is_own, refused, scorer

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint
    from ssmax_eval.model import Completion, Model

PROMPT = ("expected", "actual_length", "prompt_digest")
"""Columns that agree where two series saw the same prompt."""
TOGETHER = 16
"""Prompts that are decoded together for each that would be measured together."""
LONGEST = 2**24
"""Tokens of the longest context whose prompts are made."""
ASKED = 600
"""Characters of the end of a prompt that `show` prints."""


@dataclass(frozen=True)
class Prompt:
    """One question, ready for the model."""

    text: str
    """Everything that the model sees."""
    ids: Sequence[int]
    """The tokens of the text."""
    expected: tuple[str, ...]
    """What the answer should hold."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What else a cell says of its prompt, such as the depth reached."""

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that tell this text from others."""
        return text_digest(self.text)


Ask = Callable[[Cell], Prompt]
"""Makes the prompt of a cell."""


@dataclass(frozen=True, kw_only=True)
class AnswerTask(Task):
    """What all tasks share that ask for an answer in words. A subclass defines `asking`, and its own fields."""

    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("score", "answers right", "share", "higher", pool="share", same=PROMPT, between=(0.0, 1.0), digits=2),
        Quantity("cut", "answers cut off by their budget", "share", same=PROMPT, views=(), between=(0.0, 1.0)),
        Quantity("refused", "refusals", "share", same=PROMPT, views=(), between=(0.0, 1.0)),
        Quantity("empty", "empty answers", "share", same=PROMPT, views=(), between=(0.0, 1.0)),
        Quantity("thought_cut", "thoughts cut off by their budget", "share", same=PROMPT, views=(),
                 between=(0.0, 1.0)),
    )  # fmt: skip

    tight: ClassVar[int] = 512
    """Length up to which all prompts are made before anything is measured: there, some cells may fit and some not."""

    trials: int = grid(5)
    """Prompts of each length, and of each further coordinate."""
    chat_template: bool = True
    """Use the tokenizer's chat template where it has one; false forces plain text."""
    max_new_tokens: int = 64
    """Tokens that an answer may have; they are part of the length."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer, besides the model's own end tokens."""
    thinking: int = 0
    """Tokens that the model may think before it answers, with those that end the thought; they are part of the length.
    A model that thinks gets no answer prefix. 0: it does not think."""
    thinking_end: str = "</think>"
    """The text that ends a thought."""
    scoring: str = "contains_all"
    """How an answer is scored: contains_all, contains_any, exact, f1, sequence_ratio, choice, or a function of your own
    as my_score.py:function. It takes the answer and the list of what was expected, and returns a number from 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trials < 1 or self.max_new_tokens < 1 or self.thinking < 0:
            raise UserError(
                "trials and max_new_tokens must be 1 or more, and thinking 0 or more; "
                f"given {self.trials}, {self.max_new_tokens} and {self.thinking}"
            )
        if max(self.lengths) > LONGEST:
            raise UserError(f"lengths must be at most {LONGEST:,} tokens; given {max(self.lengths)}")
        if "" in self.stop or (self.thinking and not self.thinking_end):
            raise UserError("stop and thinking_end must not be empty texts")
        self.scorer()  # refuses an unknown name

    @property
    def budget(self) -> int:
        """Tokens that the model may write: its thought and its answer."""
        return self.thinking + self.max_new_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        return self.stop

    @abstractmethod
    def asking(self, frame: Frame) -> Ask:
        """Return the maker of prompts for a tokenizer. A prompt of a cell has `context_length - budget` tokens.

        It depends on the seed and the cell alone. UserError for a length that cannot be, with the smallest that can.
        """

    def asks(self, frame: Frame) -> Ask:
        """Return the maker of prompts; of a length that is too short it names the smallest at which every cell fits."""
        ask = self.asking(frame)

        def asked(cell: Cell) -> Prompt:
            try:
                return ask(cell)
            except TooShortError as error:
                raise TooShortError(cell.context_length, error.what, self._smallest(ask, error.needs)) from None

        return asked

    def _smallest(self, ask: Ask, length: int) -> int:
        """Return the smallest length, from this one up, at which the prompts of all cells fit."""
        others = self.without_length()
        return settled(lambda n: max(_needs(ask, replace(cell, context_length=n)) for cell in others), length)

    def without_length(self) -> list[Cell]:
        """Return the other coordinates of the grid, as cells of no length."""
        return list(dict.fromkeys(replace(cell, context_length=0) for cell in self.cells()))

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        """Return what scores an answer."""
        return scorer(self.scoring)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"scoring": identified(self.scoring)}

    def places(self) -> dict[str, str]:
        return {"scoring": self.scoring} if is_own(self.scoring) else {}

    def cells(self) -> list[Cell]:
        return [Cell(length, trial=trial) for length in self.lengths for trial in range(self.trials)]

    def frame(self, tokenizer: Any) -> Frame:
        """Return what puts texts into the form that the model expects."""
        return Frame(tokenizer, chat=chats(tokenizer, self.chat_template), thinking=self.thinking > 0)

    def of_checkpoint(self, checkpoint: "Checkpoint") -> dict[str, Any]:
        """Return the date of prompts, and the tokens that end an answer."""
        tokenizer = checkpoint.tokenizer
        date = dated(tokenizer, chats(tokenizer, self.chat_template))
        return super().of_checkpoint(checkpoint) | date | {"end_tokens": checkpoint.end_tokens}

    def bind(self, model: "Model") -> Measure:
        frame = self.frame(model.tokenizer)
        ask = self.asks(frame)
        first = {cell.context_length: cell for cell in reversed(self.cells())}
        early = [*first.values(), *(cell for cell in self.cells() if cell.context_length <= self.tight)]
        # Raises for a length that cannot be, before anything is measured.
        ready = {cell: self._checked(ask(cell), cell) for cell in dict.fromkeys(early)}
        ahead = Ahead(lambda cell: ready.pop(cell, None) or self._checked(ask(cell), cell), self.cells())
        common = {"prompt": "chat" if frame.chat else "plain", **dated(model.tokenizer, frame.chat)}

        thinking = self.thinking and self.thinking - self._closing(model.tokenizer)

        def measure(cells: Sequence[Cell]) -> Iterator[Measurement]:
            left = list[tuple[Cell, Prompt]]()
            for cell, prompt in zip(cells, ahead.of(cells), strict=True):
                if isinstance(prompt, UserError):
                    yield Measurement(cell, error=str(prompt))
                else:
                    left.append((cell, prompt))
            while left:
                asked = [
                    Request(prompt.ids, self.max_new_tokens, self.stops, thinking, self.thinking_end)
                    for _, prompt in left
                ]
                started = time.perf_counter()
                try:
                    for answer in model.complete(asked):
                        seconds = time.perf_counter() - started
                        yield self._measured(*left.pop(0), answer, common, seconds)
                        started = time.perf_counter()
                except UserError as error:  # of one prompt; the others do not fail with it
                    yield Measurement(left.pop(0)[0], error=str(error))

        return measure

    def _closing(self, tokenizer: Any) -> int:
        """Return the tokens that end a thought, for which there must be room. UserError where there is none."""
        tokens = len(tokenizer(self.thinking_end, add_special_tokens=False)["input_ids"])
        if self.thinking <= tokens:
            raise UserError(f"thinking must be more than the {tokens} tokens that end it; given {self.thinking}")
        return tokens

    def _measured(
        self, cell: Cell, prompt: Prompt, answer: "Completion", common: Mapping[str, Any], seconds: float
    ) -> Measurement:
        """The measurement of an answer; a failed one where it cannot be scored."""
        try:
            return Measurement(cell, {**common, **self.scored(prompt, answer)}, seconds=seconds)
        except UserError as error:
            return Measurement(cell, error=str(error), seconds=seconds)

    def scored(self, prompt: Prompt, answer: "Completion") -> dict[str, Any]:
        """Return the values of a cell."""
        thought = {"thought_tokens": answer.thought_tokens, "thought_cut": float(answer.thought_cut)}
        return {
            "actual_length": len(prompt.ids) + self.budget,
            **prompt.about,
            "expected": json.dumps(prompt.expected, ensure_ascii=False),
            "prompt_digest": prompt.digest,
            "score": float(self.scorer()(answer.text, prompt.expected)),
            "answer": answer.text,
            "ended": answer.ended,
            "answer_tokens": answer.tokens,
            "cut": float(answer.ended == "budget"),
            "refused": float(refused(answer.text)),
            "empty": float(not answer.text.strip()),
            **(thought if self.thinking else {}),
        }

    def prompt(self, cell: Cell, tokenizer: Any) -> str:
        """Return the text before the answer."""
        return self.asks(self.frame(tokenizer))(cell).text

    def prompt_digest(self, cell: Cell, tokenizer: Any) -> str:
        return self.asking(self.frame(tokenizer))(cell).digest

    def show(self, measurement: Measurement, tokenizer: Any) -> str:
        """Return the end of the prompt, what was expected, the answer and how it was scored."""
        values = dict(measurement.values)
        prompt = self.prompt(measurement.cell, tokenizer)
        expected, answer = values.pop("expected", ""), values.pop("answer", "")
        lines = [
            f"asked     ... {' '.join(prompt[-ASKED:].split())}",
            f"expected  {expected}",
            f"answer    {' '.join(str(answer).split())}",
        ]
        return "\n".join(lines + [f"{name:<16} {value}" for name, value in values.items()])

    def batches(self, cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
        """Yield cells of a length in groups whose prompts are made and decoded together.

        Cells with a depth stand by trial and then by depth, since the depths of a trial begin with the same tokens.
        """
        for _, alike in groupby(cells, key=lambda cell: cell.context_length):
            ordered = sorted(
                alike, key=lambda cell: (cell.trial or 0, cell.depth) if cell.depth is not None else (0, 0)
            )
            yield from super().batches(ordered, size * TOGETHER)

    def _checked(self, prompt: Prompt, cell: Cell) -> Prompt:
        """The prompt, once it is sure that it has the length of its cell."""
        if len(prompt.ids) + self.budget != cell.context_length:
            raise AssertionError(f"{self.name}: {len(prompt.ids)} + {self.budget} tokens for {cell}")
        return prompt


def _needs(ask: Ask, cell: Cell) -> int:
    """The length that the prompt of a cell needs, where its own is too short; else 0."""
    try:
        ask(cell)
    except TooShortError as error:
        return error.needs
    return 0
