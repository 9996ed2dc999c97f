"""Frequent words: which coined words come up most? RULER calls it frequent words extraction.

A word of rank k stands floor(N k^-alpha / zeta(alpha)) times. The word of rank 1 is written as dots, which are noise.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any, ClassVar

import numpy as np
from scipy.special import zeta

from ssmax_eval.errors import UserError, shown
from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks.answering import AnswerTask
from ssmax_eval.tasks.filling import Filling, FillingTask, paragraphs
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.prompts import random_of

TOKENS_OF_A_WORD = 50
"""Tokens of a prompt for each word of its vocabulary, where no vocabulary is given; so it is in RULER."""
LONGEST_NOISE = 100
"""Characters of the longest noise, which stands in a text thousands of times."""
MOST_WORDS = 100_000
"""Words of the largest vocabulary."""


@dataclass(frozen=True, kw_only=True)
class FrequentWords(FillingTask):
    """A text of coined words whose frequencies follow a zeta law. The most frequent are asked for.

    The text grows by a larger N, so that more words of the vocabulary appear, and all of them more often.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (
        replace(
            AnswerTask.quantities[0], title="frequent words found", section="Frequent words",
            about="In a text of coined words a few come up often and most rarely; the most frequent are asked for.",
        ),
        *AnswerTask.quantities[1:],
    )  # fmt: skip
    fillable: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("intro", "question", "answer_prefix"), ("count", "noise")
    )

    max_new_tokens: int = 50
    """Tokens that an answer may have; they are part of the length."""
    answers: int = 3
    """Words asked for: those of rank 2 and the ranks after it."""
    alpha: float = 2.0
    """Exponent of the law, above 1: the smaller, the closer are the frequencies of neighbouring ranks."""
    vocabulary: int = 0
    """Different words that may appear, the noise among them; 0: one for every 50 tokens of the prompt, as in RULER."""
    letters: int = 6
    """Letters of a coined word."""
    noise: str = "..."
    """What is written in place of the most frequent word."""
    intro: str = (
        "The text that follows is made of coined words. Count how often each of them comes up. "
        'The dots "{noise}" are pauses and do not count.'
    )
    """Before the text."""
    question: str = (
        "Which {count} coined words come up most in the text? Leave the dots out, and give the words without comment."
    )
    """After the text."""
    answer_prefix: str = "The {count} coined words that come up most are:"
    """Beginning of the answer, given to the model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1.0 < self.alpha <= 5.0:
            raise UserError(f"alpha must be above 1 and at most 5; given {self.alpha}")
        if not 1 <= self.answers <= 20 or not 3 <= self.letters <= 20:
            raise UserError(f"answers must be 1 to 20, and letters 3 to 20; given {self.answers} and {self.letters}")
        most = min(MOST_WORDS, 26**self.letters // 4)
        if self.vocabulary and not self.answers < self.vocabulary <= most:
            raise UserError(f"vocabulary must be 0, or {self.answers + 1} to {most} words; given {self.vocabulary}")
        if len(self.noise.split()) != 1 or len(self.noise) > LONGEST_NOISE:
            raise UserError(
                f"noise must be one word without spaces, of {LONGEST_NOISE} characters at most; given "
                f"{shown(self.noise)}"
            )

    def words(self, length: int) -> int:
        """Return the size of the vocabulary at a length, the noise included."""
        fitting = min((length - self.budget) // TOKENS_OF_A_WORD, MOST_WORDS, 26**self.letters // 4)
        return self.vocabulary or max(fitting, self.answers + 1)

    def counts(self, words: int, scale: int) -> list[int]:
        """Return how often each rank stands in the text, where N is `scale`; a rank with 0 does not."""
        ranks = np.arange(1, words + 1)
        found: list[int] = np.floor(scale * ranks**-self.alpha / zeta(self.alpha)).astype(int).tolist()
        return found

    @property
    def least(self) -> int:
        """The smallest N from which on the last word asked for stands more often than the next rank."""
        last = self.answers + 1
        between: float = last**-self.alpha - (last + 1) ** -self.alpha
        return math.floor(float(zeta(self.alpha)) / between) + 1

    def filling(self, cell: Cell, frame: Frame) -> Filling:
        """Return how the prompt is filled. The words depend on (seed, trial), their order on the whole cell."""
        coined = _coined(random_of(self.seed, self.kind, cell.trial), self.words(cell.context_length), self.letters)
        coined[0] = self.noise
        said = {"count": self.answers, "noise": self.noise}
        intro, question, prefix = (s.format(**said) for s in (self.intro, self.question, self.answer_prefix))
        one_token = len(frame.ids(f"a {self.noise}")) + 1 == len(frame.ids(f"a {self.noise} {self.noise}"))

        def body(scale: int, padding: str) -> str:
            counts = self.counts(len(coined), scale)
            text = [word for word, count in zip(coined, counts, strict=True) for _ in range(count)]
            random_of(self.seed, self.kind, "order", cell.coordinates()).shuffle(text)
            more = [self.noise] * len(padding.split()) if one_token else padding.split()
            return paragraphs(intro, " ".join([*text, *more]), question)

        def about(scale: int) -> Mapping[str, Any]:
            counts = self.counts(len(coined), scale)
            return {"coined_words": sum(counts[1:]), "least_count": counts[self.answers]}

        return Filling(body, prefix, self.least, tuple(coined[1 : self.answers + 1]), about)


def _coined(draw: random.Random, count: int, letters: int) -> list[str]:
    """Return different words of random letters; a smaller count gives the first of them."""
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choices(ascii_lowercase, k=letters))] = None
    return list(found)
