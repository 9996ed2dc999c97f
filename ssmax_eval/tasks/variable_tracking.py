"""Variable tracking: a value is handed on from variable to variable; which of them hold it?"""

import json
import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks.answering import PROMPT, AnswerTask, Ask, Prompt
from ssmax_eval.tasks.base import grid
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.haystacks import NOISE, Noise, Planted, Prose, around, fitted, reached, spread
from ssmax_eval.tasks.needles import TRIES
from ssmax_eval.tasks.prompts import check_sentence, random_of

if TYPE_CHECKING:
    from ssmax_eval.model import Completion

HAYSTACKS = ("noise", "prose")
LETTERS = 5
"""Letters of a variable's name."""
MOST = 1000
"""Assignments that a prompt may have."""
NAME = re.compile(rf"\b[A-Z]{{{LETTERS}}}\b")
"""What looks like a variable in an answer."""


class Chain(NamedTuple):
    """A value, and the variables to which it is handed on, in order."""

    value: str
    names: list[str]


@dataclass(frozen=True, kw_only=True)
class VariableTracking(AnswerTask):
    """A chain of assignments is spread over a text in order; all variables that hold its value are asked for.

    Other chains, with values of their own, distract. An example with other names can stand before it.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (
        replace(AnswerTask.quantities[0], title="variables found", units=("hops", "trial")),
        Quantity("f1", "F1 of the variables named", "share", "higher", units=("hops", "trial"), same=PROMPT,
                 views=("by_length",), between=(0.0, 1.0), digits=2,
                 about="Unlike the share found, F1 is lower where variables are named that do not hold the value."),
        *(replace(quantity, units=("hops", "trial")) for quantity in AnswerTask.quantities[1:]),
    )  # fmt: skip

    hops: tuple[int, ...] = grid((1, 2, 4))
    """How often the value is handed on; one variable more than that holds it."""
    chains: int = 1
    """Chains of assignments; the first is asked for."""
    haystack: str = "noise"
    """What stands between the assignments: noise (a line, repeated) or prose (the texts)."""
    example: bool = True
    """Whether a short example, with the answer, comes first; its names are others."""
    noise: str = NOISE
    """The line that noise repeats, also in the example."""
    intro: str = "Variables get their values in the text below, in places that lie apart. Keep track of them."
    """Before the text."""
    assignment: str = "Set {name} to {value}."
    """A sentence that gives a variable a value, or that of another variable."""
    question: str = "Which variables hold the value {value} at the end of the text?"
    """After the text."""
    answer_prefix: str = "These {count} variables hold the value {value}:"
    """Beginning of the answer, given to a model that does not think, and in the example."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.haystack not in HAYSTACKS:
            raise unknown("haystack", self.haystack, HAYSTACKS)
        if not self.hops or min(self.hops) < 0 or self.chains < 1:
            raise UserError(f"hops must be 0 or more and chains 1 or more; given {list(self.hops)} and {self.chains}")
        if (max(self.hops) + 1) * self.chains > MOST:
            raise UserError(
                f"(hops + 1) x chains must be {MOST} or fewer; given hops {max(self.hops)} and {self.chains}"
            )
        if not self.noise.strip():
            raise UserError("noise must be a line of text; it is empty")
        needed = {"intro": (), "assignment": ("name", "value"), "question": ("value",)}
        for name, fields in needed.items():
            check_sentence(name, getattr(self, name), fields, fields)
        check_sentence("answer_prefix", self.answer_prefix, ("value", "count"))

    def cells(self) -> list[Cell]:
        return [
            Cell.of(length, hops=hops, trial=trial)
            for length in self.lengths
            for hops in self.hops
            for trial in range(self.trials)
        ]

    def asking(self, frame: Frame) -> Ask:
        prose = Prose(self.filler()) if self.haystack == "prose" else None
        inside = prose.lower if prose else self.noise.lower()

        def ask(cell: Cell) -> Prompt:
            hops = int(cell.coordinates()["hops"])
            draw = random_of(self.seed, self.kind, self.haystack, self.chains, cell.context_length, hops, cell.trial)
            names, values = _distinct(draw, _name, inside), _distinct(draw, _value, inside)
            chains = [Chain(values(), [names() for _ in range(hops + 1)]) for _ in range(self.chains)]
            asked, sentences = chains[0], self._told(draw, chains)
            planted = list(map(Planted, sorted(spread(draw, len(sentences))), sentences))
            example = self._example(Chain(values(), [names() for _ in range(hops + 1)])) if self.example else ""
            haystack = prose.begun(draw) if prose else Noise(self.noise)
            before = "\n\n".join(filter(None, (example, self.intro.format())))
            sides = around(frame, before, self.question.format(value=asked.value), self._prefix(asked))

            def build(units: int, padding: str) -> str:
                return sides.text(haystack.text(units, planted, padding))

            found = fitted(frame, build, cell.context_length, self.budget, haystack.sample)
            depths = [round(reached(sides.haystack(found.text), one), 4) for one in self._sentences(asked)]
            about = {"value": asked.value, "actual_depths": json.dumps(depths)}
            return Prompt(found.text, found.ids, tuple(asked.names), about)

        return ask

    def scored(self, prompt: Prompt, answer: "Completion") -> dict[str, Any]:
        return {**super().scored(prompt, answer), "f1": f1(answer.text, prompt.expected)}

    def _sentences(self, chain: Chain) -> list[str]:
        """The assignments of a chain, in order."""
        sources = [chain.value, *chain.names]
        return [self.assignment.format(name=n, value=v) for n, v in zip(chain.names, sources, strict=False)]

    def _told(self, draw: Random, chains: Sequence[Chain]) -> list[str]:
        """The assignments of all chains in a drawn order that keeps the order of each."""
        order = [number for number, chain in enumerate(chains) for _ in chain.names]
        draw.shuffle(order)
        told = [iter(self._sentences(chain)) for chain in chains]
        return [next(told[number]) for number in order]

    def _prefix(self, chain: Chain) -> str:
        return self.answer_prefix.format(value=chain.value, count=len(chain.names))

    def _example(self, chain: Chain) -> str:
        """A short text with a chain, the question and its answer."""
        lines = [line for sentence in self._sentences(chain) for line in (self.noise, sentence)]
        answer = f"{self._prefix(chain)} {', '.join(chain.names)}"
        return "\n\n".join(
            (self.intro.format(), "\n".join(lines), f"{self.question.format(value=chain.value)}\n{answer}")
        )


def f1(answer: str, expected: Sequence[str]) -> float:
    """Return the harmonic mean of the shares found and right, of the variables named before the first blank line."""
    text = re.split(r"\n\s*\n", answer.strip())[0]
    named = {one for one in expected if one.lower() in text.lower()}
    wrong = set(NAME.findall(text)) - set(expected)
    return 2 * len(named) / (len(named) + len(wrong) + len(expected))


def _name(draw: Random) -> str:
    return "".join(draw.choices(string.ascii_uppercase, k=LETTERS))


def _value(draw: Random) -> str:
    return str(draw.randrange(10**4, 10**5))


def _distinct(draw: Random, make: Callable[[Random], str], inside: str) -> Callable[[], str]:
    """Return what draws texts that differ from each other, and do not stand in the text `inside`."""
    taken = set[str]()

    def one() -> str:
        for _ in range(TRIES):
            if (drawn := make(draw)) not in taken and drawn.lower() not in inside:
                taken.add(drawn)
                return drawn
        raise UserError("the text holds nearly every name or value that could be drawn; give another text")

    return one
