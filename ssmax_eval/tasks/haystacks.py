"""What stands around the sentences that a model is asked about: lines, or prose, of any number of units."""

import re
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from random import Random
from typing import ClassVar, NamedTuple

from ssmax_eval.corpus import SENTENCE_END
from ssmax_eval.errors import UserError
from ssmax_eval.tasks.fitting import Build, Fitted, Fitter
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.prompts import HAYSTACK, SLACK

NOISE = "Rain fell on the roof. A cart went by. The bread was warm. Someone shut the door. Nobody came."
"""A line that says nothing, repeated where a haystack is noise."""
STEPS = 40
"""Depths from which places are drawn without replacement, evenly spaced from 0 to 1."""
BETWEEN = "\n\n"
"""Stands between the end of a text and its beginning, where it is repeated."""


class Planted(NamedTuple):
    """A sentence to be put into a haystack."""

    depth: float
    """Wanted place: 0 is the start of the haystack, 1 its end."""
    text: str


class Around(NamedTuple):
    """Everything that a model sees before and after a haystack."""

    head: str
    tail: str

    def text(self, haystack: str) -> str:
        """Return the whole text."""
        return f"{self.head}{haystack}{self.tail}"

    def haystack(self, text: str) -> str:
        """Return the haystack of a whole text."""
        return text[len(self.head) : len(text) - len(self.tail)]


class Haystack(ABC):
    """A text that grows by units, with sentences planted in it."""

    sample: ClassVar[int] = 10
    """Units by which it is estimated how many tokens a unit has."""

    @abstractmethod
    def text(self, units: int, planted: Sequence[Planted], padding: str) -> str:
        """Return so many units of the haystack, then the padding, with the sentences at their depths.

        Of sentences at the same place, the first given stands first. Depths 0 and 1 are the very ends.
        """


class Lines(Haystack):
    """Units are lines; every sentence is a line of its own."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._more, self._lines = lines, list[str]()

    def text(self, units: int, planted: Sequence[Planted], padding: str) -> str:
        while len(self._lines) < units:
            self._lines.append(next(self._more))
        return _between_lines(self._lines[:units], planted, padding)


class Noise(Haystack):
    """One line of several sentences, again and again. Units are its sentences, so that its last line may be a part."""

    def __init__(self, line: str) -> None:
        self._sentences = re.split(r"(?<=[.!?])\s+", line.strip())

    def text(self, units: int, planted: Sequence[Planted], padding: str) -> str:
        whole, more = divmod(units, len(self._sentences))
        lines = [" ".join(self._sentences)] * whole + [" ".join(self._sentences[:more])] * bool(more)
        return _between_lines(lines, planted, padding)


def _between_lines(lines: list[str], planted: Sequence[Planted], padding: str) -> str:
    """The lines, then the padding, with each sentence before the line at its depth."""
    lines = lines + [padding] * bool(padding)
    places = sorted(((round(one.depth * len(lines)), one.text) for one in planted), key=lambda pair: pair[0])
    for place, sentence in reversed(places):
        lines.insert(place, sentence)
    return "\n".join(lines)


class Prose:
    """A text of some length, from which haystacks are cut; it begins anew where it ends."""

    def __init__(self, text: str) -> None:
        self._round = text + BETWEEN
        self.lower = text.lower()
        """The text in small letters, to see what does not stand in it."""
        self._words = [found.span() for found in re.finditer(r"\S+", text)]
        self._sentences = [0] + [found.end() for found in SENTENCE_END.finditer(text) if found.end() < len(text)]
        if not self._words:
            raise UserError("the text of the haystack has no words; give another --text")

    def begun(self, draw: Random) -> "Cut":
        """Return the haystack that begins at a sentence of the text, drawn evenly."""
        start = draw.choice(self._sentences)
        return Cut(self, bisect_left(self._words, (start, start)))

    def between(self, start: int, stop: int) -> str:
        """Return the letters from `start` to `stop` of the text without end."""
        first, last = start // len(self._round), stop // len(self._round)
        return (self._round * (last - first + 1))[start - first * len(self._round) : stop - first * len(self._round)]

    def word(self, number: int) -> tuple[int, int]:
        """Return where a word begins and ends in the text without end."""
        rounds, place = divmod(number, len(self._words))
        start, stop = self._words[place]
        return rounds * len(self._round) + start, rounds * len(self._round) + stop

    def place(self, wanted: int, start: int, stop: int) -> int:
        """Return the sentence's start nearest to `wanted`; the start of a word where that is far off."""
        rounds, place = divmod(wanted, len(self._round))
        i = bisect_left(self._sentences, place)
        near = [rounds * len(self._round) + one for one in self._sentences[max(i - 1, 0) : i + 1]]
        near += [(rounds + 1) * len(self._round)] if i == len(self._sentences) else []
        best = min((one for one in near if start <= one <= stop), key=lambda one: abs(one - wanted), default=stop)
        if abs(best - wanted) <= SLACK * (stop - start):
            return best
        gap = re.search(r"\s+", self.between(wanted, stop))
        return wanted + gap.end() if gap else stop


class Cut(Haystack):
    """Prose from one of its words on; units are words, and sentences are planted between sentences."""

    sample: ClassVar[int] = 300

    def __init__(self, prose: Prose, first: int) -> None:
        self.prose, self.first = prose, first

    def text(self, units: int, planted: Sequence[Planted], padding: str) -> str:
        start = self.prose.word(self.first)[0]
        stop = self.prose.word(self.first + units - 1)[1] if units else start
        places = [(self._place(one.depth, start, stop), one.text) for one in planted]
        parts, done = list[str](), start
        for place, sentence in sorted((pair for pair in places if pair[0] < stop), key=lambda pair: pair[0]):
            parts += [self.prose.between(done, place), sentence, " "]
            done = place
        rest = [
            f"{self.prose.between(done, stop)} {padding}".strip(),
            *(text for place, text in places if place >= stop),
        ]
        return "".join(parts) + BETWEEN.join(filter(None, [rest[0], " ".join(rest[1:])]))

    def _place(self, depth: float, start: int, stop: int) -> int:
        if depth <= 0.0 or depth >= 1.0:
            return start if depth <= 0.0 < stop else stop
        return self.prose.place(start + round(depth * (stop - start)), start, stop)


def drawn(make: Callable[[], str]) -> Lines:
    """Return a haystack whose lines are drawn one after another."""
    return Lines(make() for _ in count())


def spread(draw: Random, number: int) -> list[float]:
    """Draw depths without replacement from STEPS evenly spaced ones, or from as many as there are sentences."""
    steps = max(STEPS, number)
    return [place / (steps - 1) for place in draw.sample(range(steps), number)]


def reached(haystack: str, sentence: str) -> float:
    """Return the depth of a sentence in a haystack: the share of the letters of the rest that stand before it."""
    return haystack.index(sentence) / max(len(haystack) - len(sentence), 1)


def around(frame: Frame, before: str, after: str, answer_prefix: str) -> Around:
    """Return what stands around a haystack; an empty text leaves no blank lines. A model that thinks gets no prefix."""
    body = "\n\n".join(filter(None, (before, HAYSTACK, after)))
    head, _, tail = frame.text(body, "" if frame.thinking else answer_prefix).partition(HAYSTACK)
    return Around(head, tail)


def fitted(frame: Frame, build: Build, length: int, budget: int, sample: int) -> Fitted:
    """Return the text of `length - budget` tokens, of one unit at least.

    The search begins at what `sample` units take, and not at what an earlier text took: so a prompt does not depend on
    those that were made before it.
    """
    few, more = (len(frame.ids(build(units, ""))) for units in (1, 1 + sample))
    rate = max((more - few) / sample, 0.5)
    return Fitter(frame).fit(build, length - budget, least=1, budget=budget, rate=rate)
