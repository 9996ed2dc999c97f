"""Make a text of an exact number of tokens out of parts that are repeated or drawn."""

from collections.abc import Callable
from itertools import cycle, islice
from typing import NamedTuple

from ssmax_eval.errors import UserError
from ssmax_eval.tasks.frame import Frame

Build = Callable[[int, str], str]
"""Makes the whole text from a number of units, such as sentences, and a few words of padding."""

PADDING = ("and", "so", "on")
"""Words of one token each, repeated where the last unit does not fit: they say nothing."""
ENDINGS = ("", ".", " ...", " etc.", ", etc. ...")
"""What may follow the padding where its words alone do not give the length."""
STEPS = 12
"""Sizes that are tried before the search halves what is left."""
FEWER = 2
"""Units that are given up where the last one leaves room for no padding."""
LONGEST = 200
"""Tokens of the longest padding."""


class Fitted(NamedTuple):
    """A text of the wanted length."""

    text: str
    ids: list[int]
    units: int


class Fitter:
    """Find the number of units that fills a length, for one kind of text; it remembers how long a unit is."""

    def __init__(self, frame: Frame, what: str = "the question") -> None:
        self.frame, self.what = frame, what
        self.rate = 8.0
        """Tokens of a unit, as last seen."""

    def fit(self, build: Build, target: int, *, least: int = 0, most: int | None = None, budget: int = 0) -> Fitted:
        """Return the text with as many units as fit, padded to exactly `target` tokens.

        At least `least` units, at most `most` (None: any number). `budget` is what the answer takes besides, for the
        message. UserError where the least is too long, with the smallest length that would work; and where `most`
        units are too short.
        """
        base = len(self.frame.ids(build(least, "")))
        if base > target:
            raise UserError(
                f"context length {target + budget} is too short: {self.what} and the answer need {base + budget} tokens"
            )
        units = self._largest(build, target, least, base, most)
        if units == most and target - len(self.frame.ids(build(units, ""))) > LONGEST:
            raise UserError(f"there is too little text for {target + budget} tokens; give more of it")
        for fewer in range(min(FEWER, units - least) + 1):
            if (found := self._padded(build, units - fewer, target)) is not None:
                return found
        raise UserError(f"no padding gives exactly {target} tokens with this tokenizer")

    def _largest(self, build: Build, target: int, least: int, base: int, most: int | None) -> int:
        """The largest number of units whose text has at most `target` tokens."""
        known = {least: base}

        def count(units: int) -> int:
            if units not in known:
                known[units] = len(self.frame.ids(build(units, "")))
            return known[units]

        low, high = least, most  # low fits, and high + 1 does not, once it is known
        for _ in range(STEPS):
            if high is not None and low >= high:
                break
            guess = low + max(1, int((target - count(low)) / self.rate))
            guess = guess if high is None else min(guess, high)
            if count(guess) <= target:
                low = guess
            else:
                high = guess - 1
            self.rate = max((count(guess) - base) / (guess - least), 0.5)
        while high is not None and low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if count(middle) <= target else (low, middle - 1)
        return low

    def _padded(self, build: Build, units: int, target: int) -> Fitted | None:
        """The text with as many words of padding as give the length; None where no number of them does."""
        for ending in ENDINGS:
            words, tried = 0, set[int]()
            while words >= 0 and words not in tried:
                tried.add(words)
                padding = " ".join(islice(cycle(PADDING), words)) + (ending if words else "")
                text = build(units, padding)
                ids = self.frame.ids(text)
                if len(ids) == target:
                    return Fitted(text, ids, units)
                words += target - len(ids)
        return None
