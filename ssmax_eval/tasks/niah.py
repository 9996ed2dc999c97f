"""Needle in a haystack: is a number, planted at some depth of a long text, still found?"""

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice, takewhile
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ssmax_eval.errors import UserError, shown
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.model import Question
from ssmax_eval.tasks.base import Measure, Task, grid
from ssmax_eval.tasks.chat import chats, dated
from ssmax_eval.tasks.depths import WHICH, cells_at_depths, check_depths, which_haystack
from ssmax_eval.tasks.prompts import Haystack, Prompt, Wording

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint
    from ssmax_eval.model import Answer, Model

SCORINGS = ("teacher_forced", "generate")
PROMPT = ("expected", "actual_length", "prompt", "prompt_digest")
"""Columns that agree where two series saw the same prompt."""
AROUND = 160
"""Characters shown on either side of a needle."""


@dataclass(frozen=True, kw_only=True)
class NeedleTask(Task):
    """What all tasks with a needle in a haystack share: the grid and the prompts."""

    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "score", "needles found", "share", "higher", pool="share", units=("depth", "trial"), same=PROMPT,
            views=("heatmap", "by_length"), between=(0.0, 1.0), digits=2, section="Needle in a haystack",
            about="A number is hidden in a long text at a given depth, and the model is asked for it at the end.",
        ),
        Quantity("leading_digits", "leading digits right", "share", "higher", units=("depth", "trial"), same=PROMPT,
                 views=(), between=(0.0, 1.0)),
        Quantity("logprob", "log-probability of the answer", "nats per token", "higher", units=("depth", "trial"),
                 same=PROMPT, views=(), between=(None, 0.0)),
    )  # fmt: skip

    depths: tuple[float, ...] = grid((0.0, 0.25, 0.5, 0.75, 1.0))
    """Wanted depths of the needle: 0 is the start of the haystack, 1 its end."""
    trials: int = grid(5)
    """Repetitions of each length and depth, each with a filler, city and number of its own."""
    own_filler: bool = False
    """Give every depth of a trial a filler of its own. Then all cells are independent, and intervals are narrower; but
    depths share no tokens, so that a cell costs a whole pass (without, five depths cost about three)."""
    digits: int = 7
    """Digits of the number (7 in the SSMax paper, 5 in the LSSAR paper)."""
    chat_template: bool = True
    """Use the tokenizer's chat template where it has one; false forces plain text."""
    intro: str = "A special magic number is hidden in the following text. Remember it; you will be asked for it."
    """Sentence before the haystack."""
    needle: str = "The special magic number for {city} is {number}."
    """The sentence to be found."""
    question: str = "What is the special magic number for {city} in the text above?"
    """Question after the haystack."""
    answer_prefix: str = "The special magic number for {city} is"
    """Beginning of the answer, given to the model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_depths(self.depths)
        if self.trials < 1 or not 1 <= self.digits <= 15:
            raise UserError(f"trials must be 1 or more and digits 1 to 15; given {self.trials} and {self.digits}")
        _ = self.wording  # refuses sentences that cannot be filled in

    @property
    def wording(self) -> Wording:
        """The sentences of the task."""
        return Wording(self.intro, self.needle, self.question, self.answer_prefix)

    def cells(self) -> list[Cell]:
        return cells_at_depths(self.lengths, self.trials, self.depths)

    def numbers(self) -> list[Quantity]:
        """Return the quantities. With fillers of their own, cells are what is repeated independently."""
        return [replace(one, units=(WHICH,)) if self.own_filler else one for one in super().numbers()]

    def settings(self) -> dict[str, Any]:
        """Return every field outside the grid; `own_filler` where it is set, so that older runs stay what they are."""
        return {name: value for name, value in super().settings().items() if name != "own_filler" or value}

    def haystack(self, tokenizer: Any) -> tuple[Haystack, bool]:
        """Return the maker of prompts for a tokenizer, and whether it uses the chat template."""
        chat = chats(tokenizer, self.chat_template)
        own = {"own": True} if self.own_filler else {}
        return self.maker(
            tokenizer, self.filler(), self.wording, chat=chat, digits=self.digits, seed=self.seed, **own
        ), chat

    def of_checkpoint(self, checkpoint: "Checkpoint") -> dict[str, Any]:
        """Return the date that the chat template is told, where it asks for one."""
        tokenizer = checkpoint.tokenizer
        return super().of_checkpoint(checkpoint) | dated(tokenizer, chats(tokenizer, self.chat_template))

    def maker(self, *arguments: Any, **settings: Any) -> Haystack:
        """Return what makes the prompts."""
        return Haystack(*arguments, **settings)

    def bind(self, model: "Model") -> Measure:
        haystack, chat = self.haystack(model.tokenizer)
        for length in self.lengths:  # raises for a length that cannot be, before anything is measured
            haystack.prompt(Cell(length, depth=self.depths[0], trial=0))

        common = {"prompt": "chat" if chat else "plain", **dated(model.tokenizer, chat)}

        def measure(cells: Sequence[Cell]) -> Iterator[Measurement]:
            started = time.perf_counter()
            prompts = {cell: haystack.prompt(cell) for cell in cells}
            each = (time.perf_counter() - started) / len(cells)
            together = [list(alike) for _, alike in groupby(cells, key=lambda cell: cell.depth)]
            answers = model.answers([self.asked([prompts[cell] for cell in batch]) for batch in together])
            for batch in together:
                started = time.perf_counter()
                mine = [prompts[cell] for cell in batch]
                answer = next(answers)
                found = self.found(model, mine, answer)
                again = [self._again(model, *one) for one in zip(mine, answer.chosen, strict=True)]
                seconds = each + (time.perf_counter() - started) / len(batch)
                for cell, prompt, (values, rows), more in zip(batch, mine, found, again, strict=True):
                    which = which_haystack(cell) if self.own_filler else {}
                    held = {**common, **reached(prompt), **which, **values, **more}
                    yield Measurement(cell, held, rows, seconds=seconds)

        return measure

    def prompt(self, cell: Cell, tokenizer: Any) -> str:
        """Return the text before the expected answer."""
        prompt = self.haystack(tokenizer)[0].prompt(cell)
        return prompt.text[: prompt.answer_at]

    def prompt_digest(self, cell: Cell, tokenizer: Any) -> str:
        return self.haystack(tokenizer)[0].prompt(cell).digest

    def show(self, measurement: Measurement, tokenizer: Any) -> str:
        """Return the text around the needle, the question, the answer and how it was scored."""
        prompt = self.haystack(tokenizer)[0].prompt(measurement.cell)
        # The needle's number comes first; the expected answer repeats it at the very end.
        at = prompt.text.index(prompt.number)
        around = prompt.text[max(0, at - AROUND) : at + len(prompt.number) + AROUND]
        key = [tokenizer.decode([i]) for i in prompt.ids[slice(*prompt.key)]]
        values = {k: v for k, v in measurement.values.items() if k not in ("answer", "expected")}
        lines = [
            f"needle at tokens {prompt.key[0]}..{prompt.key[1] - 1} of {len(prompt.ids)}, as {key}",
            f"  ... {' '.join(around.split())} ...",
            f"asked     {' '.join(prompt.text[max(0, prompt.answer_at - 200) : prompt.answer_at].split())}",
            f"expected  {prompt.number}",
            f"answer    {measurement.values['answer']}",
        ]
        return "\n".join(lines + [f"{name:<16} {value}" for name, value in values.items()])

    def batches(self, cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
        """Yield all depths of `size` trials of a length, ordered by depth.

        Neighbours begin with the same tokens, which then run once.
        """
        for _, alike in groupby(cells, key=lambda cell: cell.context_length):
            trials = groupby(alike, key=lambda cell: cell.trial)
            columns = (list(column) for _, column in trials)
            while group := [cell for column in islice(columns, size) for cell in column]:
                yield sorted(group, key=lambda cell: cell.depth or 0.0)

    def asked(self, prompts: list[Prompt]) -> Question:
        """Return what is asked of the model for prompts of one length that run as a batch."""
        ids = torch.tensor([p.ids for p in prompts])
        return Question(ids, max(len(p.ids) - p.answer_start for p in prompts))

    def _again(self, model: "Model", prompt: Prompt, chosen: torch.Tensor) -> dict[str, Any]:
        """Decode where teacher forcing cannot tell, because the model began the answer with other tokens; else {}."""
        if not begins_otherwise(model.tokenizer, prompt, chosen):
            return {}
        text = model.generate(prompt.ids[: prompt.answer_start], len(prompt.number) + 2).strip()
        leading = _common(text, prompt.number)
        return {
            "score": float(leading == len(prompt.number)),
            "leading_digits": leading / len(prompt.number),
            "answer": text,
        }

    @abstractmethod
    def found(
        self, model: "Model", prompts: list[Prompt], answer: "Answer"
    ) -> list[tuple[dict[str, Any], dict[str, list[Any]]]]:
        """Return for each prompt of a batch what its measurement holds: values, and rows."""


@dataclass(frozen=True, kw_only=True)
class Niah(NeedleTask):
    """Retrieval by context length and depth. No judge is needed: the number is in the answer or it is not."""

    scoring: str = "teacher_forced"
    """"teacher_forced": one pass, equal to greedy decoding of an answer that begins with the number.
    "generate": real decoding, for models that talk before they answer."""
    max_new_tokens: int = 48
    """Tokens that `generate` may write."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scoring not in SCORINGS:
            raise UserError(f"unknown scoring {shown(self.scoring)}; known: {', '.join(SCORINGS)}")
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens must be 1 or more; given {self.max_new_tokens}")

    def of_checkpoint(self, checkpoint: "Checkpoint") -> dict[str, Any]:
        """Return the date of prompts, and for decoding the tokens that end an answer."""
        ends = {"end_tokens": checkpoint.end_tokens} if self.scoring == "generate" else {}
        return super().of_checkpoint(checkpoint) | ends

    def _again(self, model: "Model", prompt: Prompt, chosen: torch.Tensor) -> dict[str, Any]:
        return {} if self.scoring == "generate" else super()._again(model, prompt, chosen)

    def found(
        self, model: "Model", prompts: list[Prompt], answer: "Answer"
    ) -> list[tuple[dict[str, Any], dict[str, list[Any]]]]:
        logprobs, chosen, _ = answer
        return [(self._scored(model, p, logprobs[i], chosen[i]), {}) for i, p in enumerate(prompts)]

    def _scored(self, model: "Model", prompt: Prompt, logprobs: torch.Tensor, chosen: torch.Tensor) -> dict[str, Any]:
        forced = scored(model.tokenizer, prompt, logprobs, chosen)
        if self.scoring == "teacher_forced":
            return forced
        text = model.generate(prompt.ids[: prompt.answer_start], self.max_new_tokens)
        leading = max((_common(text[i:], prompt.number) for i in range(len(text))), default=0)
        score = float(prompt.number in text)
        return {**forced, "score": score, "leading_digits": leading / len(prompt.number), "answer": text}


def reached(prompt: Prompt) -> dict[str, Any]:
    """Return what a cell says of its prompt: the length and depth reached, and what was asked."""
    return {
        "actual_length": len(prompt.ids),
        "actual_depth": round(prompt.depth, 4),
        "city": prompt.city,
        "expected": prompt.number,
        "prompt_digest": prompt.digest,
    }


def scored(tokenizer: Any, prompt: Prompt, logprobs: torch.Tensor, chosen: torch.Tensor) -> dict[str, Any]:
    """Score of one answer under teacher forcing.

    `logprobs` and `chosen` end with the answer's tokens. Greedy decoding from the prompt writes exactly the
    expected tokens if and only if the choice at each of them, the earlier ones being right, is right.
    """
    answer = prompt.ids[prompt.answer_start :]
    choices = chosen[-len(answer) :].tolist()
    right = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(choices, answer, strict=True))))
    text = str(tokenizer.decode(choices[: right + 1])).strip()
    return {
        "score": float(right == len(answer)),
        "leading_digits": _common(text, prompt.number) / len(prompt.number),
        "logprob": round(float(logprobs[-len(answer) :].double().mean()), 6),
        "answer": text,
    }


def begins_otherwise(tokenizer: Any, prompt: Prompt, chosen: torch.Tensor) -> bool:
    """Whether the choices under teacher forcing leave the expected tokens, and yet say nothing else so far.

    Where a token holds several digits, "12" and "34" may also be written "1" and "234": what comes after the first
    other choice is then not known from one pass.
    """
    answer = prompt.ids[prompt.answer_start :]
    choices = chosen[-len(answer) :].tolist()
    right = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(choices, answer, strict=True))))
    if right == len(answer):
        return False
    written, expected = str(tokenizer.decode(choices[: right + 1])), str(tokenizer.decode(answer))
    return expected.startswith(written) or written.startswith(expected)


def _common(a: str, b: str) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))))
