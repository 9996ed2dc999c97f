"""Anybody's prompts: each line of a data file holds what is asked, and what is expected."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ssmax_eval.errors import UserError, shown
from ssmax_eval.measurement import LARGEST, Cell, Scalar
from ssmax_eval.tasks.answering import AnswerTask, Ask, Prompt
from ssmax_eval.tasks.base import Measure, grid
from ssmax_eval.tasks.chat import chats
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.records import records

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint
    from ssmax_eval.model import Model

POWERS = tuple(1 << i for i in range(7, 21))
"""Context lengths that a prompt may stand at; a shorter one stands at the first."""
TAKEN = {
    *("run", "checkpoint", "attention", "task", "train_length", "dtype", "rope", "series", "seed", "prompt", "date"),
    *("context_length", "depth", "trial", "document", "line", "status", "error", "seconds", "prompt_digest"),
    *("score", "answer", "expected", "ended", "answer_tokens", "actual_length", "cut", "refused", "empty"),
    *("thought_tokens", "thought_cut"),
}
"""Columns of results that a group must not be named after."""
LONGEST_GROUP = 200
"""Characters of the longest value of a group."""
SHOWN = 8
"""Lengths that a message repeats."""


class Line(NamedTuple):
    """One prompt of the file."""

    number: int
    """Its line, counted from 1."""
    input: str
    expected: tuple[str, ...]
    prefix: str
    length: int | None
    """Tokens of the prompt and its answer, as the file says; None where it does not."""
    groups: tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True, kw_only=True)
class Prompts(AnswerTask):
    """Prompts from a file, each asked once and scored against what the file expects. A prompt stands at the context
    length that is the power of two above its tokens and its answer's budget; `actual_length` is the exact number.
    """

    quantities = tuple(replace(quantity, units=("line",)) for quantity in AnswerTask.quantities)
    tight = 0
    """A prompt that is written down stands at a length that holds it."""

    lengths: tuple[int, ...] = grid(
        (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576)
    )
    """Context lengths to measure, powers of two: 1024 stands for prompts of 513 to 1024 tokens, the answer included."""
    trials: int = grid(50_000)
    """Prompts of each length and group at most: the first ones of the file."""
    data: str = ""
    """A *.jsonl or *.parquet, or a data set of the hub as hub:org/name, hub:org/name:split or hub:org/name:config:split
    (with the `datasets` package)."""
    input: str = "input"
    """Column of the prompt."""
    outputs: str = "outputs"
    """Column of what is expected: a text, or a list of texts."""
    answer_prefix: str = "answer_prefix"
    """Column of the beginning of the answer, put right after the prompt; a file need not have one."""
    length: str = "length"
    """Column of the length of prompt and answer in tokens. Where a line has none, the checkpoint's tokenizer counts."""
    group: tuple[str, ...] = ()
    """Columns that become coordinates of a cell, as COLUMN or "COLUMN as NAME"."""
    chat_template: bool = False
    """Put the prompt into the tokenizer's chat template. False: it is finished, as those that RULER writes are."""
    max_new_tokens: int = 128
    """Tokens that an answer may have."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if wrong := [n for n in self.lengths if n not in POWERS]:
            raise UserError(
                f"lengths of prompts must be powers of two from {POWERS[0]} to {POWERS[-1]}; given {wrong[0]}: "
                "a prompt stands at the next one above its tokens"
            )
        names = [entry.partition(" as ")[2] or entry for entry in self.group]
        if taken := [name for name in names if name in TAKEN or names.count(name) > 1]:
            raise UserError(
                f"results have a column {taken[0]!r} already; give the group another name: 'COLUMN as NAME'"
            )

    def needs(self) -> str:
        """Return how to give the data, where none was given."""
        return "" if self.data else "--set data=FILE, a JSONL or Parquet file of prompts"

    @cached_property
    def lines(self) -> dict[int, Line]:
        """The prompts by their line. UserError for a line that lacks something."""
        self.check_given()
        found = {number: self._line(number, record) for number, record in records(self.data)}
        if not found:
            raise UserError(f"data {self.data!r} holds no prompt")
        return found

    @cached_property
    def context_lengths(self) -> dict[int, int]:
        """The context length of each line, where the file tells all. UserError where it does not."""
        if missing := [line for line in self.lines.values() if line.length is None]:
            raise UserError(
                f"line {missing[0].number} of {self.data!r} has no {self.length!r}; a checkpoint must count"
            )
        return {number: _power(line.length or 0) for number, line in self.lines.items()}

    def on(self, checkpoint: "Checkpoint") -> "Prompts":
        """Return the task with the context lengths that its prompts have, in tokens of the checkpoint if need be."""
        frame, places = self.frame(checkpoint.tokenizer), dict[int, int]()
        for number, line in self.lines.items():
            size = len(self._ids(frame, self._text(frame, line))) + self.budget if line.length is None else line.length
            if size > POWERS[-1]:
                raise UserError(f"line {number} of {self.data!r} takes {size:,} tokens; {POWERS[-1]:,} is the most")
            places[number] = _power(size)
        kept = tuple(n for n in self.lengths if n in places.values())
        if not kept:
            there = ", ".join(f"{n} ({count})" for n, count in sorted(Counter(places.values()).items())[:SHOWN])
            raise UserError(f"no prompt of {self.data!r} stands at the lengths asked for; there are {there}")
        found = replace(self, lengths=kept)
        vars(found).update(lines=self.lines, context_lengths=places)
        return found

    def cells(self) -> list[Cell]:
        taken = Counter[tuple[Any, ...]]()
        found = []
        for number, line in self.lines.items():
            length = self.context_lengths[number]
            taken[length, line.groups] += 1
            if length in self.lengths and taken[length, line.groups] <= self.trials:
                found.append((length, line.input, Cell.of(length, line=number, **dict(line.groups))))
        # Prompts that begin alike stand together: what they share runs once.
        return [cell for _, _, cell in sorted(found, key=lambda one: one[:2])]

    def together(self, cells: Sequence[Cell]) -> list[list[Cell]]:
        """Return neighbours in groups: a prompt is in that of the one before where half of it begins alike."""
        groups: list[list[Cell]] = []
        before = ""
        for cell in cells:
            text = self.lines[cell.coordinates()["line"]].input
            half = (len(text) + 1) // 2
            if groups and groups[-1][0].context_length == cell.context_length and before[:half] == text[:half]:
                groups[-1].append(cell)
            else:
                groups.append([cell])
            before = text
        return groups

    def settings(self) -> dict[str, Any]:
        said = json.dumps(list(self.lines.values()))
        return super().settings() | {"data": hashlib.sha256(said.encode()).hexdigest()[:16]}

    def places(self) -> dict[str, str]:
        return super().places() | {"data": self.data}

    def frame(self, tokenizer: Any) -> Frame:
        chat = chats(tokenizer, self.chat_template)
        return Frame(tokenizer, chat=chat, thinking=self.thinking > 0, whole=True)

    def asking(self, frame: Frame) -> Ask:
        def ask(cell: Cell) -> Prompt:
            line = self.lines[cell.coordinates()["line"]]
            text = self._text(frame, line)
            return Prompt(text, self._ids(frame, text), line.expected)

        return ask

    def bind(self, model: "Model") -> Measure:
        if (limit := model.max_positions) is not None:
            ask = self.asking(self.frame(model.tokenizer))
            for cell in self.cells():
                if (size := len(ask(cell).ids) + self.budget) > limit:
                    raise UserError(
                        f"line {dict(cell.extra)['line']} of {self.data!r} takes {size} tokens with its answer, and "
                        f"this model has a table of {limit} positions; give --max-length {cell.context_length // 2}"
                    )
        return super().bind(model)

    def _checked(self, prompt: Prompt, cell: Cell) -> Prompt:
        """The prompt: it has a length of its own."""
        return prompt

    def _text(self, frame: Frame, line: Line) -> str:
        return frame.text(line.input) + ("" if self.thinking else line.prefix)

    def _ids(self, frame: Frame, text: str) -> list[int]:
        """The tokens of a text; a token that begins every text stands there once, also where the text writes it."""
        ids = frame.ids(text)
        begin = frame.tokenizer.bos_token_id
        return ids[1:] if begin is not None and ids[:2] == [begin, begin] else ids

    def _line(self, number: int, record: Mapping[str, Any]) -> Line:
        where = f"line {number} of {self.data!r}"
        grouped = [entry.partition(" as ")[0] for entry in self.group]
        for name in (self.input, self.outputs, *grouped):
            if name not in record:
                raise UserError(f"{where} has no {name!r}; it has {', '.join(map(str, record))}")
        text, prefix, length = record[self.input], record.get(self.answer_prefix), record.get(self.length)
        if not isinstance(text, str) or not text:
            raise UserError(f"{self.input!r} in {where} must be a text; got {shown(text)}")
        _refuse_halves(record, (self.input, self.outputs, self.answer_prefix, *grouped), where)
        expected = record[self.outputs] if isinstance(record[self.outputs], list) else [record[self.outputs]]
        if not expected or not all(isinstance(one, str | int | float) for one in expected):
            raise UserError(f"{self.outputs!r} in {where} must be a text or a list of texts; got {shown(expected)}")
        if not isinstance(prefix, str | None):
            raise UserError(f"{self.answer_prefix!r} in {where} must be a text; got {shown(prefix)}")
        if length is not None and (type(length) is not int or length < 1):
            raise UserError(f"{self.length!r} in {where} must be a number of tokens; got {shown(length)}")
        groups = {entry.partition(" as ")[2] or entry: record[entry.partition(" as ")[0]] for entry in self.group}
        if wrong := [name for name, value in groups.items() if not isinstance(value, str | int | float | None)]:
            raise UserError(f"{wrong[0]!r} in {where} must be a text or a number; got {shown(groups[wrong[0]])}")
        if wrong := [name for name, value in groups.items() if not _keepable(value)]:
            raise UserError(
                f"{wrong[0]!r} in {where} must be a finite number below 2^63, or at most {LONGEST_GROUP} characters; "
                f"got {shown(groups[wrong[0]])}"
            )
        return Line(number, text, tuple(map(str, expected)), prefix or "", length, tuple(groups.items()))


def _refuse_halves(record: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    """Raise UserError for a text with half of a character (a lone surrogate), which no tokenizer takes."""
    for name in names:
        try:
            json.dumps(record.get(name), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UserError(f"{name!r} in {where} holds half of a character, which is not valid text") from None


def _keepable(value: Scalar) -> bool:
    """Whether a group may be called so: it stands in every row of its results."""
    return len(value) <= LONGEST_GROUP if isinstance(value, str) else value is None or abs(value) < LARGEST


def _power(size: int) -> int:
    """The smallest context length that holds `size` tokens."""
    return max(POWERS[0], 1 << (size - 1).bit_length())
