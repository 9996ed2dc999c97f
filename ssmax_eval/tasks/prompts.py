"""Haystacks: prompts of an exact number of tokens with one needle at a wanted depth."""

import bisect
import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter
from typing import Any

from ssmax_eval.corpus import SENTENCE_END, text_digest
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.chat import render

HAYSTACK = "\u241fHAYSTACK\u241f"
"""Stands for the haystack while a chat template is applied."""

ENDINGS = ("", ".", " ...", " etc.", ", etc. ...")
"""What may follow the filler where no cut alone gives the wanted length; each takes another number of tokens."""

SLACK = 0.1
"""Share of the haystack by which a needle may be off its depth to stand between two sentences."""

DIGITS = "1234567890"
"""A tokenizer must give these back, or every number is the same to the model."""

CITIES = (  # noqa: SIM905 (a list of sixty lines reads worse)
    "Amsterdam Athens Bangkok Barcelona Beijing Berlin Bogota Boston Brussels Budapest Cairo Chicago "
    "Copenhagen Dakar Delhi Denver Dublin Edinburgh Florence Geneva Hamburg Hanoi Havana Helsinki "
    "Istanbul Jakarta Kyoto Lagos Lima Lisbon London Lyon Madrid Manila Melbourne Miami Milan Montreal "
    "Moscow Mumbai Munich Nairobi Naples Oslo Paris Prague Quito Rome Santiago Seattle Seoul Singapore "
    "Stockholm Sydney Tokyo Toronto Tunis Vienna Warsaw Zurich"
).split()


@dataclass(frozen=True)
class Wording:
    """The sentences of the task; `{city}` and `{number}` are filled in. An empty one leaves no blank lines."""

    intro: str
    """Before the haystack."""
    needle: str
    """The sentence to be found."""
    question: str
    """After the haystack."""
    answer_prefix: str
    """Begins the answer, up to the number."""

    def __post_init__(self) -> None:
        for name, sentence in vars(self).items():
            check_sentence(name, sentence, ("city", "number") if name == "needle" else ("city",))
        if not re.search(r"(?<!\d)1234567(?!\d)", self.needle.format(city="", number="1234567")):
            raise UserError(f"the needle must contain {{number}}, with no digit beside it; given {self.needle!r}")


def check_sentence(name: str, sentence: str, known: tuple[str, ...], needed: tuple[str, ...] = ()) -> None:
    """UserError where a sentence of the task holds an unknown field, lacks a needed one, or is no valid text."""
    try:
        parts = [part for part in Formatter().parse(sentence) if part[1] is not None]
        found = [str(field) for _, field, _, _ in parts]
        if strange := [field for field in found if field not in known]:
            raise KeyError(strange[0])
        if formatted := [field for _, field, how, conversion in parts if how or conversion]:
            raise UserError(f"{name} takes {{{formatted[0]}}} without a format; given {sentence!r}")
        sentence.format(**dict.fromkeys(known, "7")).encode()
        if lacking := [field for field in needed if field not in found]:
            raise UserError(f"{name} must contain {{{lacking[0]}}}; given {sentence!r}")
    except KeyError as error:
        choice = " or ".join(f"{{{field}}}" for field in known)
        raise UserError(f"unknown field {{{error.args[0]}}} in {name}; it takes {choice}: {sentence!r}") from None
    except UnicodeEncodeError:
        raise UserError(f"{name} holds half of a character (a lone surrogate): {sentence!r}") from None
    except ValueError as error:
        raise UserError(f"{name} is not readable ({error}); a brace is written twice: {sentence!r}") from None


@dataclass(frozen=True)
class Prompt:
    """One trial, ready for the model."""

    ids: list[int]
    """The whole sequence: prompt, then the expected answer. Exactly `context_length` tokens."""
    answer_start: int
    """Index of the first token of the answer."""
    digit_start: int
    """Index of the first token of the answer that holds a digit; the row before it predicts it."""
    key: tuple[int, int]
    """First token of the number in the needle, and one past its last."""
    depth: float
    """Depth reached: share of the filler's tokens that stand before the needle."""
    text: str
    """The text that `ids` encodes."""
    answer_at: int
    """Where in the text the expected answer begins; before it stands what a model is asked."""
    city: str
    number: str

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that tell this text from others: two models with the same were asked the same."""
        return text_digest(self.text)


@lru_cache(maxsize=1)
def _offsets(tokenizer: Any, filler: str) -> list[tuple[int, int]]:
    """Return where in a filler each token begins and ends; kept for the next attention."""
    plain = tokenizer(filler, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    found: list[tuple[int, int]] = plain["offset_mapping"]
    return found


class Haystack:
    """Make prompts for one tokenizer, one filler and one wording."""

    def __init__(
        self, tokenizer: Any, filler: str, wording: Wording, *, chat: bool, digits: int, seed: int, own: bool = False
    ) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UserError("exact lengths need a fast tokenizer (one that reports character offsets)")
        kept = tokenizer.decode(tokenizer(f" {DIGITS}", add_special_tokens=False, verbose=False)["input_ids"])
        if DIGITS not in "".join(kept.split()):
            raise UserError(f"this tokenizer loses digits: {DIGITS!r} comes back as {kept.strip()!r}")
        self.tokenizer, self.filler, self.wording = tokenizer, filler, wording
        self.chat, self.digits, self.seed, self.own = chat, digits, seed, own
        self.starts = [0] + [m.end() for m in SENTENCE_END.finditer(filler)]
        self.offsets = _offsets(tokenizer, filler)

    def prompt(self, cell: Cell) -> Prompt:
        """Return the prompt of a cell. The filler depends on (seed, length, trial), the needle also on the depth.

        So every depth of a trial has the same haystack up to its needle, unless `own` gives each its own. UserError
        when the filler is shorter than the length, or the length is too short for the question itself.
        """
        length, depth, trial = cell.context_length, float(cell.depth or 0.0), cell.trial
        draw = random_of(self.seed, length, trial, depth)
        city, number = draw.choice(CITIES), self._number(draw)
        start = self._start(random_of(self.seed, length, trial, *([depth, "own"] if self.own else [])), length)
        head, tail = self._frame(city)
        needle = self.wording.needle.format(city=city, number=number)

        def assembled(stop: int, ending: str) -> str:
            at = self._place(start, stop, depth)
            before, after = self.filler[start:at], self.filler[at:stop] + ending
            joined = f"{before}{needle} {after}" if at < stop else f"{before}{ending}\n\n{needle}"
            return f"{head}{joined}{tail} {number}"

        text, stop, ids, offsets = self._fit(start, length, assembled)
        first, at, last = (self._token(place) for place in (start, self._place(start, stop, depth), stop))
        answer_at = len(text) - len(number) - 1
        answer_start, digit_start, key = self._located(text, ids, offsets, number, answer_at)
        depth = (at - first) / max(last - first, 1)
        return Prompt(ids, answer_start, digit_start, key, depth, text, answer_at, city, number)

    def _number(self, draw: random.Random) -> str:
        """Draw a number that does not occur in the filler."""
        for _ in range(1000):
            number = str(draw.randrange(10 ** (self.digits - 1), 10**self.digits))
            if number not in self.filler:
                return number
        raise UserError(f"the filler holds nearly every number of {self.digits} digits; give more digits or other text")

    def _frame(self, city: str) -> tuple[str, str]:
        """Return everything before the haystack, and everything after it up to the answer."""
        w = self.wording
        intro, question, prefix = (part.format(city=city) for part in (w.intro, w.question, w.answer_prefix))
        body = "\n\n".join(filter(None, (intro, HAYSTACK, question)))
        whole = render(self.tokenizer, body).text + prefix if self.chat else f"{body}\n{prefix}"
        head, found, tail = whole.partition(HAYSTACK)
        if not found or HAYSTACK in tail:
            raise UserError("the chat template does not keep the message as it is; try --no-chat-template")
        return head, tail

    def _start(self, draw: random.Random, length: int) -> int:
        """Draw a sentence start in the filler with `length` tokens after it."""
        spare = len(self.offsets) - length
        if spare < 0:
            raise UserError(
                f"the filler has {len(self.offsets)} tokens, fewer than the context length {length}; "
                "give a longer --text"
            )
        last = bisect.bisect_right(self.starts, self.offsets[spare][0] if spare < len(self.offsets) else 0)
        return self.starts[draw.randrange(last)]

    def _place(self, start: int, stop: int, depth: float) -> int:
        """Return the sentence boundary nearest to the depth, as a place in the filler; 0 and 1 are the very ends.

        Where that is off by more than a tenth of the haystack, the nearest white space after the depth.
        """
        first, last = self._token(start), self._token(stop)
        wanted = self.offsets[min(first + round(depth * (last - first)), len(self.offsets) - 1)][0]
        if depth >= 1.0 or wanted >= stop:
            return stop
        i = bisect.bisect_left(self.starts, wanted)
        near = [b for b in self.starts[max(i - 1, 0) : i + 1] if start <= b < stop]
        best = min(near, key=lambda b: abs(b - wanted), default=start)
        if abs(best - wanted) <= SLACK * (stop - start):
            return best
        gap = re.compile(r"\s+").search(self.filler, wanted, stop)
        return gap.end() if gap else best

    def _token(self, place: int) -> int:
        return bisect.bisect_left(self.offsets, (place, place))

    def _fit(
        self, start: int, length: int, assembled: Callable[[int, str], str]
    ) -> tuple[str, int, list[int], list[tuple[int, int]]]:
        """Cut the filler so that the assembled text has exactly `length` tokens: text, cut, tokens, offsets.

        Where two neighbouring cuts differ by two tokens (a line's end may merge with what follows), something
        is put after the cut.
        """
        first, fixed = self._token(start), len(self._encode(assembled(start, ""))[0])
        if fixed + 8 > length:
            raise UserError(f"context length {length} is too short: the question alone takes {fixed} tokens")
        for ending in ENDINGS:
            tokens, tried = length - fixed, set[int]()
            while tokens not in tried and 0 < tokens <= len(self.offsets) - first:
                tried.add(tokens)
                stop = self.offsets[first + tokens - 1][1]
                text = assembled(stop, ending)
                ids, offsets = self._encode(text)
                if len(ids) == length:
                    return text, stop, ids, offsets
                tokens += length - len(ids)
        raise UserError(f"no cut of the filler gives exactly {length} tokens with this tokenizer")

    def _located(
        self, text: str, ids: list[int], offsets: list[tuple[int, int]], number: str, answer_at: int
    ) -> tuple[int, int, tuple[int, int]]:
        """Return the first token of the answer, the first of its digits, and the tokens of the needle's number."""
        if number not in text or number not in "".join(text[a:b] for a, b in offsets):
            raise UserError("this tokenizer, or its chat template, drops digits; the needle cannot be found")
        key_at, answer_start = text.index(number), len(ids)
        while answer_start > 0 and offsets[answer_start - 1][0] >= answer_at:
            answer_start -= 1
        if self._encode(text[:answer_at])[0] != ids[:answer_start]:
            raise UserError("this tokenizer merges the answer with the text before it; let answer_prefix end in a word")
        digit_start = next(i for i in range(answer_start, len(ids)) if offsets[i][1] > answer_at + 1)
        key = [i for i, (a, b) in enumerate(offsets) if a < b and b > key_at and a < key_at + len(number)]
        return answer_start, digit_start, (key[0], key[-1] + 1)

    def _encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return token ids and character offsets, with the special tokens that begin a text.

        A chat template has its own.
        """
        encoded = self.tokenizer(
            text,
            add_special_tokens=not self.chat,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            verbose=False,
        )
        stop = len(encoded["input_ids"])
        while not self.chat and stop and encoded["special_tokens_mask"][stop - 1]:
            stop -= 1
        return encoded["input_ids"][:stop], encoded["offset_mapping"][:stop]


def random_of(*parts: object) -> random.Random:
    """Return a generator that depends on the parts alone, not on what was drawn before."""
    return random.Random(hashlib.sha256(repr(parts).encode()).digest())
