"""Make a text of an exact number of tokens out of parts that are repeated or drawn."""

import math
from collections.abc import Callable
from itertools import cycle, islice, product
from typing import NamedTuple

from ssmax_eval.errors import UserError
from ssmax_eval.tasks.frame import Frame

Build = Callable[[int, str], str]
"""Makes the whole text from a number of units, such as sentences, and a few words of padding."""

PADDING = ("and", "so", "on")
"""Words of one token each, repeated where the last unit does not fit: they say nothing."""
ENDINGS = ("", ".", " ...", " etc.", ", etc. ...")
"""What may follow the padding where its words alone do not give the length."""
RATE = 8.0
"""Tokens that a unit is first taken to have; no prompt may depend on those before it."""
STEPS = 12
"""Sizes that are tried before the search halves what is left."""
FEWER = 2
"""Units that are given up where the last one leaves room for no padding."""
FEW = 8
"""Words of padding below which every number is tried, where the search found none."""
LONGEST = 200
"""Tokens of the longest padding."""


class TooShortError(UserError):
    """A length that a prompt does not fit into, and the length that it needs."""

    def __init__(self, length: int, what: str, needs: int) -> None:
        super().__init__(f"context length {length} is too short: {what} and the answer need {needs} tokens")
        self.what, self.needs = what, needs


class Fitted(NamedTuple):
    """A text of the wanted length."""

    text: str
    ids: list[int]
    units: int


class Fitter:
    """Find the number of units that fills a length, for one kind of text."""

    def __init__(self, frame: Frame, what: str = "the question") -> None:
        self.frame, self.what = frame, what

    def fit(
        self, build: Build, target: int, *, least: int = 0, most: int | None = None, budget: int = 0, rate: float = RATE
    ) -> Fitted:
        """Return the text with as many units as fit, padded to exactly `target` tokens.

        At least `least` units, at most `most` (None: any number). `budget` is what the answer takes besides, for the
        message, `rate` the tokens that a unit is expected to have. UserError where the least is too long, with the
        smallest length that would work; and where `most` units are too short.
        """
        known: dict[int, int] = {}

        def count(units: int) -> int:
            if units not in known:
                known[units] = len(self.frame.ids(build(units, "")))
            return known[units]

        base = count(least)
        if base > target:
            raise TooShortError(target + budget, self.what, base + budget)
        units = self._largest(count, target, least, most, rate)
        if units == most and target - count(units) > LONGEST:
            raise UserError(f"there is too little text for {target + budget} tokens; give more of it")
        for fewer in range(min(FEWER, units - least) + 1):
            if (found := self._padded(build, units - fewer, target, count(units - fewer))) is not None:
                return found
        for ending, words in product(ENDINGS, range(1, FEW)):  # where words take several tokens, the search may miss
            text = build(units, _padding(words, ending))
            if len(ids := self.frame.ids(text)) == target:
                return Fitted(text, ids, units)
        if units <= least + FEWER:  # a token or two more than the least, which no padding has
            raise TooShortError(target + budget, self.what, target + budget + 1)
        raise UserError(f"no padding gives exactly {target} tokens with this tokenizer")

    def _largest(self, count: Callable[[int], int], target: int, least: int, most: int | None, rate: float) -> int:
        """The largest number of units whose text has at most `target` tokens."""
        base = count(least)
        low, high = least, most  # low fits, and high + 1 does not, once it is known
        last, guess = least, least + int((target - base) / rate)
        for _ in range(STEPS):
            if high is not None and low >= high:
                break
            guess = max(low + 1, guess) if high is None else min(max(low + 1, guess), high)
            if count(guess) <= target:
                low = guess
            else:
                high = guess - 1
            slope = max((count(guess) - count(last)) / (guess - last), 0.5)
            last, guess = guess, guess + math.floor((target - count(guess)) / slope)
        while high is not None and low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if count(middle) <= target else (low, middle - 1)
        return low

    def _padded(self, build: Build, units: int, target: int, bare: int) -> Fitted | None:
        """The text with as many words of padding as give the length, where without any it has `bare` tokens.

        None where no number of words does.
        """
        for ending in ENDINGS:
            words, tried = target - bare, set[int]()
            while words >= 0 and words not in tried:
                tried.add(words)
                text = build(units, _padding(words, ending))
                ids = self.frame.ids(text)
                if len(ids) == target:
                    return Fitted(text, ids, units)
                words += target - len(ids)
        return None


def settled(needed: Callable[[int], int], length: int) -> int:
    """Return the smallest length, from this one on, that is at least what `needed` says of it: each draws its own."""
    while (enough := needed(length)) > length:
        length = enough
    return length


def _padding(words: int, ending: str) -> str:
    return " ".join(islice(cycle(PADDING), words)) + (ending if words else "")
