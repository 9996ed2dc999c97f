"""Question answering: the answer stands in one paragraph, or two, among many others."""

import bisect
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks.answering import PROMPT, AnswerTask, Ask, Prompt
from ssmax_eval.tasks.base import grid
from ssmax_eval.tasks.depths import cells_at_depths, check_depths
from ssmax_eval.tasks.documents import Item, Questions, read_questions
from ssmax_eval.tasks.fitting import Fitter
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.prompts import check_sentence, random_of
from ssmax_eval.tasks.scoring import exact, f1

if TYPE_CHECKING:
    from ssmax_eval.model import Completion

UNITS = ("depth", "trial")
SPARE = 8
"""Tokens that a question leaves in the shortest text that it fits into, so that padding can fill it exactly."""


@dataclass(frozen=True, kw_only=True)
class QA(AnswerTask):
    """Questions of SQuAD or HotpotQA whose paragraphs stand at a wanted depth among others of the file: first those of
    the same article, or that HotpotQA gives with the question, then any. A paragraph that is drawn holds no answer.
    """

    quantities = (
        replace(AnswerTask.quantities[0], title="questions answered", units=UNITS, views=("heatmap", "by_length")),
        Quantity("f1", "F1 of the answer's first line", "share", "higher", units=UNITS, same=PROMPT,
                 between=(0.0, 1.0)),
        Quantity("exact", "exact answers", "share", "higher", pool="share", units=UNITS, same=PROMPT, views=(),
                 between=(0.0, 1.0)),
        *(replace(quantity, units=UNITS) for quantity in AnswerTask.quantities[1:]),
    )  # fmt: skip

    data: str = ""
    """SQuAD's JSON (1.1 or 2.0) or HotpotQA's (distractor setting); the format is seen from the file."""
    depths: tuple[float, ...] = grid((0.0, 0.25, 0.5, 0.75, 1.0))
    """Wanted depths of the paragraphs with the answer: 0 is before all others, 1 behind."""
    trials: int = grid(20)
    """Questions of each length, every one asked at all depths. They are the first in an order drawn from the seed, of
    those whose own paragraphs fit into the length."""
    max_new_tokens: int = 32
    """Tokens that an answer may have."""
    scoring: str = "contains_any"
    """How an answer is scored."""
    intro: str = "Some documents follow. One question about them comes at the end; answer it in a few words."
    """Before the documents."""
    document: str = "Document {number}\n{text}"
    """A document."""
    question: str = "Using the documents above, answer in a few words: {question}"
    """After the documents."""
    answer_prefix: str = "The answer is:"
    """Beginning of the answer, given to a model that does not think."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_depths(self.depths)
        known = {"document": ("number", "text"), "question": ("question",), "intro": (), "answer_prefix": ()}
        needed = {"document": ("text",), "question": ("question",)}
        for name, fields in known.items():
            check_sentence(name, getattr(self, name), fields, needed.get(name, ()))

    def needs(self) -> str:
        """Return how to give the data, where none was given."""
        return "" if self.data else "--set data=FILE, of SQuAD or HotpotQA"

    @cached_property
    def questions(self) -> Questions:
        """What the file holds."""
        self.check_given()
        return read_questions(self.data)

    def settings(self) -> dict[str, Any]:
        return super().settings() | {"data": self.questions.digest}

    def places(self) -> dict[str, str]:
        return super().places() | {"data": self.data}

    def cells(self) -> list[Cell]:
        return cells_at_depths(self.lengths, self.trials, self.depths)

    def asking(self, frame: Frame) -> Ask:
        asker = _Asker(self, frame)
        for length in self.lengths:  # raises for a length into which too few questions fit
            asker.item(length, self.trials - 1)
        return asker

    def scored(self, prompt: Prompt, answer: "Completion") -> dict[str, Any]:
        line = next(iter(answer.text.strip().splitlines()), "")
        more = {"f1": f1(line, prompt.expected), "exact": exact(line, prompt.expected)}
        return super().scored(prompt, answer) | more


class _Asker:
    """Make the prompts of a task for one tokenizer."""

    def __init__(self, task: QA, frame: Frame) -> None:
        self.task, self.frame, self.paragraphs = task, frame, task.questions.paragraphs
        self.fitter = Fitter(frame, "a question, its paragraphs")
        items = task.questions.items
        self.order = random_of(task.seed, task.kind, "order").sample(range(len(items)), len(items))
        self.sizes: dict[int, int] = {}
        self.last: tuple[Item, int, _Others] | None = None

    def item(self, length: int, trial: int) -> Item:
        """Return the question of a trial. UserError where too few fit into the length."""
        fitting = (number for number in self.order if self._size(number) <= length)
        if (number := next(islice(fitting, trial, None), None)) is not None:
            return self.task.questions.items[number]
        sizes = sorted(map(self._size, self.order))
        if trial >= len(sizes):
            raise UserError(f"data {self.task.data!r} has {len(sizes)} questions with an answer, not {trial + 1}")
        raise UserError(
            f"context length {length} is too short: {trial + 1} questions with their paragraphs and answers need "
            f"{sizes[trial]} tokens"
        )

    def __call__(self, cell: Cell) -> Prompt:
        length, depth = cell.context_length, cell.depth or 0.0
        item = self.item(length, cell.trial or 0)
        others = self._others(item, length)

        def build(units: int, padding: str) -> str:
            return self._text(item, others.texts(units), depth, padding)

        found = self.fitter.fit(build, length - self.task.budget, most=others.words, budget=self.task.budget)
        around = others.texts(found.units)
        before = around[: _place(around, depth)]
        reached = sum(map(len, before)) / max(sum(map(len, around)), 1)
        about = {"actual_depth": round(reached, 4), "documents": len(around) + len(item.gold)}
        return Prompt(found.text, found.ids, item.answers, about)

    def _others(self, item: Item, length: int) -> "_Others":
        """The other paragraphs of a question, enough of them for a length; they are the same at every depth."""
        if self.last is None or self.last[:2] != (item, length):
            draw = random_of(self.task.seed, self.task.kind, item.question)
            drawn = draw.sample(range(len(self.paragraphs)), len(self.paragraphs))
            self.last = item, length, _Others(self._taken(item, drawn, length), draw)
        return self.last[2]

    def _taken(self, item: Item, drawn: Sequence[int], length: int) -> Iterator[str]:
        """Other paragraphs in the order in which they are taken, those near the question first."""
        near, answers = set(item.near), [answer.lower() for answer in item.answers]
        first = item.near if item.chosen else [number for number in drawn if number in near]
        words = 0
        for number in (*first, *(number for number in drawn if number not in near and number not in item.gold)):
            text = self.paragraphs[number]
            given = item.chosen and number in near
            if given or not any(answer in text.lower() for answer in answers):
                yield text
                words += len(text.split())
            if words > length:
                return

    def _text(self, item: Item, others: Sequence[str], depth: float, padding: str) -> str:
        """Everything that the model sees, with the question's own paragraphs at a depth."""
        at = _place(others, depth)
        if others and padding:
            others, padding = [*others[:-1], f"{others[-1]} {padding}"], ""
        texts = [*others[:at], *(self.paragraphs[number] for number in item.gold), *others[at:]]
        documents = [self.task.document.format(number=n, text=text) for n, text in enumerate(texts, start=1)]
        question = self.task.question.format(question=item.question)
        body = "\n\n".join(part for part in (self.task.intro.format(), *documents, padding, question) if part)
        return self.frame.text(body, "" if self.task.thinking else self.task.answer_prefix.format())

    def _size(self, number: int) -> int:
        """The shortest context length for a question: its own paragraphs, and the answer's budget."""
        if number not in self.sizes:
            ids = self.frame.ids(self._text(self.task.questions.items[number], [], 0.0, ""))
            self.sizes[number] = len(ids) + SPARE + self.task.budget
        return self.sizes[number]


class _Others:
    """The paragraphs around those with the answer, in an order that is drawn; the last one taken may be cut."""

    def __init__(self, taken: Iterable[str], draw: random.Random) -> None:
        self.taken = [text.split(" ") for text in taken]
        self.places = [draw.random() for _ in self.taken]
        self.ends = list(accumulate(map(len, self.taken)))
        self.words = self.ends[-1] if self.ends else 0

    def texts(self, words: int) -> list[str]:
        """Return so many words of them: as many whole paragraphs as there can be, and the beginning of one more."""
        whole = bisect.bisect_right(self.ends, words)
        used = self.taken[:whole]
        if left := words - (self.ends[whole - 1] if whole else 0):
            used.append(self.taken[whole][:left])
        return [" ".join(text) for _, text in sorted(zip(self.places, used, strict=False))]


def _place(others: Sequence[str], depth: float) -> int:
    """How many of the others stand before a depth: those whose share of all their text is nearest to it."""
    starts = [0, *accumulate(map(len, others))]
    return min(range(len(starts)), key=lambda i: abs(starts[i] - depth * starts[-1]))
