"""Keys and values to hide in a text: words, numbers and UUIDs that stand nowhere else in it."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Quantity
from ssmax_eval.tasks import words
from ssmax_eval.tasks.answering import AnswerTask

TRIES = 1000
"""Draws after which there is nothing left to draw."""


def at_depths(title: str) -> tuple[Quantity, ...]:
    """Return the quantities of a task whose cells have a depth, the score under a title of its own."""
    score, *others = (replace(quantity, units=("depth", "trial")) for quantity in AnswerTask.quantities)
    return (replace(score, title=title, views=("heatmap", "by_length")), *others)


def word(draw: Random) -> str:
    """Draw an adjective and a noun, such as `quiet-harbor`."""
    return f"{draw.choice(words.adjectives())}-{draw.choice(words.nouns())}"


def number(draw: Random) -> str:
    """Draw a number of seven digits."""
    return str(draw.randrange(10**6, 10**7))


def identifier(draw: Random) -> str:
    """Draw a UUID (version 4)."""
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))


KINDS: dict[str, Callable[[Random], str]] = {"words": word, "numbers": number, "uuids": identifier}
"""What keys and values may be."""
CALLED = {"words": "word", "numbers": "number", "uuids": "code"}
"""What a value is called in a sentence."""


class Fresh:
    """Draw keys and values that differ from each other, and that hold none of some others."""

    def __init__(self, draw: Random, *, inside: str = "", without: Iterable[str] = ()) -> None:
        self.draw, self.inside, self.taken = draw, inside, set[str]()
        self.without = [text.lower() for text in without]

    def one(self, kind: str, *, asked: bool = False) -> str:
        """Return a new text of a kind; where it is asked for, also one that does not stand in the text `inside`."""
        for _ in range(TRIES):
            drawn = KINDS[kind](self.draw)
            low = drawn.lower()
            if low in self.taken or any(one in low for one in self.without):
                continue
            if asked and (low in self.inside or any(low in one or one in low for one in self.taken)):
                continue
            self.taken.add(low)
            return drawn
        raise UserError(f"there are too few {kind} that do not stand in the text; ask for fewer, or give other text")


def check_kept(tokenizer: Any, kinds: Iterable[str]) -> None:
    """UserError for a tokenizer that loses letters or digits of keys and values: nothing could be found then."""
    for kind in kinds:
        drawn = KINDS[kind](Random(0)) + "0123456789abcdefghijklmnopqrstuvwxyz"
        kept = tokenizer.decode(tokenizer(f" {drawn}", add_special_tokens=False, verbose=False)["input_ids"])
        if "".join(drawn.lower().split()) not in "".join(kept.lower().split()):
            raise UserError(f"this tokenizer loses parts of {kind}: {drawn!r} comes back as {kept.strip()!r}")


def listed(names: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
