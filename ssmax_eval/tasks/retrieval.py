"""Retrieval: one or several values are planted in a long text, under keys; are those that are asked for found?"""

import json
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar, NamedTuple

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks import words
from ssmax_eval.tasks.answering import AnswerTask, Ask, Prompt
from ssmax_eval.tasks.base import grid
from ssmax_eval.tasks.depths import WHICH, cells_at_depths, check_depths, which_haystack
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.haystacks import (
    NOISE,
    Around,
    Haystack,
    Noise,
    Planted,
    Prose,
    around,
    drawn,
    fitted,
    reached,
    spread,
)
from ssmax_eval.tasks.needles import CALLED, KINDS, Fresh, at_depths, check_kept, listed
from ssmax_eval.tasks.prompts import check_sentence, random_of

HAYSTACKS = ("noise", "prose", "needles")
MOST = 10_000
"""Needles that a prompt may have."""


class Needles(NamedTuple):
    """What is planted for a cell."""

    keys: list[str]
    """Those asked for."""
    expected: tuple[str, ...]
    """Their values."""
    hidden: list[str]
    """The sentences that hold these values."""
    sentences: list[Planted]
    """All needles, by depth."""
    others: Fresh
    """Draws keys and values that differ from all of these."""


@dataclass(frozen=True, kw_only=True)
class Retrieval(AnswerTask):
    """Values under keys in a long text: several keys, several values of a key, or several keys asked for.

    Where one value is asked for, it stands at a depth of the grid, and depths of a trial share their haystack and its
    other needles. Otherwise all needles are spread over the text.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = at_depths("values found")

    depths: tuple[float, ...] = grid((0.0, 0.25, 0.5, 0.75, 1.0))
    """Wanted depths of the value, 0 the start of the haystack and 1 its end; used where one value is asked for."""
    own_filler: bool = False
    """Give every depth of a trial a haystack of its own. Then all cells are independent, and intervals are narrower;
    but depths share no tokens, so that a cell costs a whole pass."""
    haystack: str = "prose"
    """What surrounds the needles: noise (a line, repeated), prose (the texts) or needles (others of the same form)."""
    key_type: str = "words"
    """What keys are: words (adjective and noun), numbers (seven digits) or uuids."""
    value_type: str = "numbers"
    """What values are: words, numbers or uuids."""
    keys: int = 1
    """Keys in the text, besides those of a haystack of needles."""
    values: int = 1
    """Values of each key, each in a needle of its own."""
    queries: int = 1
    """Keys that are asked for at once."""
    noise: str = NOISE
    """The line that a haystack of noise repeats."""
    intro: str = "Look for secret {kind} in the text below. You will be asked about them at the end."
    """Before the haystack. `{kind}`: numbers, words or codes."""
    needle: str = "A secret {kind} for {key} is {value}."
    """The sentence that holds a value. `{kind}`: number, word or code."""
    question: str = "Which secret {kind} {is} given for {key} in the text above?"
    """After the haystack. `{kind}` and `{is}` are plural where several values are asked for; `{key}` is all keys."""
    answer_prefix: str = "The secret {kind} for {key} {is}"
    """Beginning of the answer, given to a model that does not think. Fields as in the question."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.haystack not in HAYSTACKS:
            raise unknown("haystack", self.haystack, HAYSTACKS)
        for name in ("key_type", "value_type"):
            if getattr(self, name) not in KINDS:
                raise unknown(name, getattr(self, name), KINDS)
        if min(self.keys, self.values, self.queries) < 1 or self.queries > self.keys:
            raise UserError(
                "keys, values and queries must be 1 or more, and queries at most keys; "
                f"given {self.keys}, {self.values} and {self.queries}"
            )
        if self.keys * self.values > MOST:
            raise UserError(f"keys x values must be {MOST:,} or fewer; given {self.keys} x {self.values}")
        check_depths(self.depths)
        if self.own_filler and not self.single:
            raise UserError("own_filler must be false where several values are asked for; there it changes nothing")
        if not self.noise.strip():
            raise UserError("noise must be a line of text; it is empty")
        known = {"intro": ("kind",), "needle": ("kind", "key", "value")}
        needed = {"needle": ("key", "value"), "question": ("key",)}
        for name in ("intro", "needle", "question", "answer_prefix"):
            sentence = getattr(self, name)
            check_sentence(name, sentence, known.get(name, ("kind", "key", "is")), needed.get(name, ()))

    @property
    def single(self) -> bool:
        """Whether one value is asked for, which then has a depth."""
        return self.queries * self.values == 1

    @property
    def form(self) -> tuple[str | int, ...]:
        """What prompts are drawn by, besides the seed and the cell: two presets have needles of their own."""
        return self.kind, self.haystack, self.key_type, self.value_type, self.keys, self.values, self.queries

    def cells(self) -> list[Cell]:
        depths: tuple[float | None, ...] = self.depths if self.single else (None,)
        return cells_at_depths(self.lengths, self.trials, depths)

    def numbers(self) -> list[Quantity]:
        """Return the quantities; without a depth no heatmap. Haystacks of their own are what is repeated."""
        views = {"heatmap"} if not self.single else set()
        found = [replace(one, views=tuple(v for v in one.views if v not in views)) for one in super().numbers()]
        return [replace(one, units=(WHICH,)) for one in found] if self.own_filler else found

    def settings(self) -> dict[str, Any]:
        """Return every field outside the grid, and a digest of the words where keys or values are words.

        `own_filler` only where it is set, so that older runs stay what they are.
        """
        kept = {name: value for name, value in super().settings().items() if name != "own_filler" or value}
        return kept | ({"words": words.digest()} if "words" in (self.key_type, self.value_type) else {})

    def asking(self, frame: Frame) -> Ask:
        check_kept(frame.tokenizer, (self.key_type, self.value_type))
        prose = Prose(self.filler()) if self.haystack == "prose" else None

        def ask(cell: Cell) -> Prompt:
            whose = ("own", cell.depth) if self.own_filler else ()
            shared = random_of(self.seed, *self.form, cell.context_length, cell.trial, *whose)
            needles = self._needles(cell, shared, prose)
            haystack = prose.begun(shared) if prose else self._lines(needles.others)
            sides = self._around(frame, needles.keys)

            def build(units: int, padding: str) -> str:
                return sides.text(haystack.text(units, needles.sentences, padding))

            found = fitted(frame, build, cell.context_length, self.budget, haystack.sample)
            depths = [round(reached(sides.haystack(found.text), one), 4) for one in needles.hidden]
            where = {"actual_depth": depths[0]} if self.single else {"actual_depths": json.dumps(depths)}
            which = which_haystack(cell) if self.own_filler else {}
            return Prompt(found.text, found.ids, needles.expected, {**where, **which, "key": listed(needles.keys)})

        return ask

    def _needles(self, cell: Cell, shared: Random, prose: Prose | None) -> Needles:
        """Draw the needles: those asked for by (seed, length, trial, depth), the others without the depth."""
        depth = None if cell.depth is None else float(cell.depth)
        own = random_of(self.seed, *self.form, cell.context_length, cell.trial, depth)
        fresh = Fresh(own, inside=prose.lower if prose else self.noise.lower())
        keys = [fresh.one(self.key_type, asked=True) for _ in range(self.queries)]
        asked = [(key, fresh.one(self.value_type, asked=True)) for key in keys for _ in range(self.values)]
        others = Fresh(shared, without=fresh.taken)
        more = [others.one(self.key_type) for _ in range(self.keys - self.queries)]
        pairs = [(key, others.one(self.value_type)) for key in more for _ in range(self.values)]
        told = [self._told(key, value) for key, value in asked + pairs]
        depths = spread(shared, len(told)) if depth is None else [depth, *spread(shared, len(told) - 1)]
        places = list(map(Planted, depths, told))
        # Where others have the same depth, the needle that is asked for stands first, and at the very end last.
        places.sort(key=lambda one: (one.depth, (one.text == told[0]) == (one.depth >= 1.0)))
        return Needles(keys, tuple(value for _, value in asked), told[: len(asked)], places, others)

    def _lines(self, others: Fresh) -> Haystack:
        if self.haystack == "noise":
            return Noise(self.noise)
        return drawn(lambda: self._told(others.one(self.key_type), others.one(self.value_type)))

    def _told(self, key: str, value: str) -> str:
        return self.needle.format(kind=CALLED[self.value_type], key=key, value=value)

    def _around(self, frame: Frame, keys: list[str]) -> Around:
        """What stands around the haystack, with the sentences filled in."""
        one, many = CALLED[self.value_type], f"{CALLED[self.value_type]}s"
        named = {"kind": one if self.single else many, "is": "is" if self.single else "are", "key": listed(keys)}
        question, prefix = (sentence.format(**named) for sentence in (self.question, self.answer_prefix))
        return around(frame, self.intro.format(kind=many), question, prefix)
