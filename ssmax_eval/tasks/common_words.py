"""Common words: which words of a long numbered list stand in it most often? RULER calls it common words extraction."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks import words
from ssmax_eval.tasks.answering import AnswerTask
from ssmax_eval.tasks.filling import Filling, FillingTask, paragraphs
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.prompts import random_of

TIMES = ("times", "short_times", "example_times", "short_example_times")
PLAIN = re.compile("[a-z]+")
"""Words that have one part."""
MOST_TIMES = 1000
"""How often a word may stand in a list at most."""
SIZES = ("example_words", "short_example_words")


class Rule(NamedTuple):
    """How often words stand in the lists of a length."""

    times: Sequence[int]
    """Of the common words, and of the others."""
    example_times: Sequence[int]
    example_words: int


@dataclass(frozen=True, kw_only=True)
class CommonWords(FillingTask):
    """A numbered list in which some words stand often and the others seldom. The common ones are asked for.

    The list grows by more of the other words. A word of the answer counts wherever it stands in it.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (
        replace(
            AnswerTask.quantities[0], title="common words found", section="Common words",
            about="A long numbered list repeats some words often and the others seldom; the common ones are asked for.",
        ),
        *AnswerTask.quantities[1:],
    )  # fmt: skip
    fillable: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("intro", "question", "answer_prefix"), ("count",)
    )

    max_new_tokens: int = 120
    """Tokens that an answer may have; they are part of the length."""
    common: int = 10
    """Words that stand often, and are asked for."""
    times: tuple[int, ...] = (30, 3)
    """How often a common word stands in the list, and how often any other."""
    example_words: int = 40
    """Different words in an example that comes before the list, with its answer; 0: no example."""
    example_times: tuple[int, ...] = (10, 3)
    """How often words stand in the example."""
    short_below: int = 4096
    """Shorter lengths take the three fields that follow in place of the three before, as RULER does."""
    short_times: tuple[int, ...] = (6, 1)
    """How often words stand in the list of a short length."""
    short_example_words: int = 20
    """Different words in the example of a short length; 0: no example."""
    short_example_times: tuple[int, ...] = (3, 1)
    """How often words stand in the example of a short length."""
    intro: str = "The numbered list that follows repeats {count} of its words again and again, the others only rarely."
    """Before the list."""
    question: str = "Which {count} words come up most in the list?"
    """After the list."""
    answer_prefix: str = "The {count} words that come up most are:"
    """Beginning of the answer, given to the model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in TIMES:
            times = getattr(self, name)
            if len(times) != 2 or not 0 < times[1] < times[0] <= MOST_TIMES:
                raise UserError(
                    f"{name} must be two whole numbers, for the common words and for the others, the first larger and "
                    f"both 1 to {MOST_TIMES}; given {list(times)[:3]}"
                )
        if not 1 <= self.common <= 100:
            raise UserError(f"common must be 1 to 100 words; given {self.common}")
        for name in SIZES:
            if (size := getattr(self, name)) and not self.common < size <= 1000:
                raise UserError(f"{name} must be 0, or {self.common + 1} to 1000, more than common; given {size}")

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"words": words.digest()}

    def rule(self, length: int) -> Rule:
        """Return how often words stand in the lists of a length. It depends on the length alone."""
        if length < self.short_below:
            return Rule(self.short_times, self.short_example_times, self.short_example_words)
        return Rule(self.times, self.example_times, self.example_words)

    def filling(self, cell: Cell, frame: Frame) -> Filling:
        """Return how the prompt is filled. The words depend on (seed, trial), their order on the whole cell."""
        rule = self.rule(cell.context_length)
        drawn = _Drawn(random_of(self.seed, self.kind, cell.trial), self.common, rule.example_words)
        intro, question, prefix = (s.format(count=self.common) for s in (self.intro, self.question, self.answer_prefix))

        def entries(name: str, common: Sequence[str], others: Sequence[str], times: Sequence[int]) -> str:
            listed = [*common] * times[0] + [*others] * times[1]
            random_of(self.seed, self.kind, name, cell.coordinates()).shuffle(listed)
            return " ".join(f"{i}. {word}" for i, word in enumerate(listed, 1))

        example = ""
        if rule.example_words:
            common, others = drawn.example[: self.common], drawn.example[self.common :]
            listed = entries("example", common, others, rule.example_times)
            answer = " ".join(f"{i}. {word}" for i, word in enumerate(common, 1))
            example = paragraphs(intro, listed, question, f"{prefix} {answer}")

        def body(units: int, padding: str) -> str:
            listed = entries("list", drawn.common, drawn.others(units), rule.times)
            return paragraphs(example, intro, f"{listed} {padding}".strip(), question)

        def about(units: int) -> Mapping[str, Any]:
            return {"entries": self.common * rule.times[0] + units * rule.times[1]}

        return Filling(body, prefix, self.common, drawn.common, about)


class _Drawn:
    """The words of a trial. No other word of its lists contains a common one, so an answer is never right by chance."""

    def __init__(self, draw: random.Random, common: int, example: int) -> None:
        order = draw.sample(_vocabulary(), len(_vocabulary()))
        chosen: list[str] = []
        while len(chosen) < common:
            word = order.pop()
            if not any(word in one or one in word for one in chosen):
                chosen.append(word)
        self._draw, self._holds_common = draw, re.compile("|".join(chosen))
        self.common = tuple(chosen)
        rest = [word for word in order if not self._holds_common.search(word)]
        self.example, self._others = rest[:example], rest[example:]

    def others(self, count: int) -> list[str]:
        """Return words that stand seldom; once there are no more, pairs of an adjective and a noun, as "blue-table"."""
        if count > len(self._others):
            there = set(self._others)
            first, second = (list(filter(PLAIN.fullmatch, listed)) for listed in (words.adjectives(), words.nouns()))
            while len(self._others) < count:
                pair = f"{self._draw.choice(first)}-{self._draw.choice(second)}"
                if pair not in there and not self._holds_common.search(pair):
                    there.add(pair)
                    self._others.append(pair)
        return self._others[:count]


@lru_cache
def _vocabulary() -> list[str]:
    """All nouns, adjectives and verbs of small letters alone, about 8 000; the list is shared."""
    every = {*words.nouns(), *words.adjectives(), *words.verbs()}
    return sorted(filter(PLAIN.fullmatch, every))
