"""What is asked of a model that writes, what it has written so far, and what came of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ssmax_eval.errors import UserError

MARGIN = 8
"""Tokens looked at beyond those that a string can have, since the first of them may not be a whole character."""

BROKEN = "NaN"
"""What ended a writing without an answer."""


@dataclass(frozen=True)
class Request:
    """A prompt, and how long a model may write after it."""

    ids: Sequence[int]
    """Tokens of the prompt."""
    max_new_tokens: int
    """Most tokens of the answer. An end token counts as one of them, as in transformers."""
    stop: tuple[str, ...] = ()
    """Strings that end the answer. They are not part of it."""
    thinking: int = 0
    """Most tokens that the model may think before it answers; 0: it does not think."""
    thinking_end: str = "</think>"
    """What ends the thought."""

    def __post_init__(self) -> None:
        if not len(self.ids):
            raise UserError("a model needs a prompt of at least one token to write after")
        if self.max_new_tokens < 1 or self.thinking < 0:
            raise UserError(
                f"max_new_tokens must be 1 or more and thinking 0 or more; given {self.max_new_tokens} and "
                f"{self.thinking}"
            )
        if "" in self.stop or (self.thinking and not self.thinking_end):
            raise UserError("a string that ends an answer or a thought must not be empty")


class Completion(NamedTuple):
    """What a model wrote."""

    text: str
    """The answer, without special tokens and without the string that ended it."""
    tokens: int
    """Tokens written for the answer, without an end token."""
    ended: str
    """What ended it: "end" (an end token), "stop" (a stop string) or "budget" (it was cut off)."""
    thought: str = ""
    """What was written before the answer, up to the end of thought."""
    thought_tokens: int = 0
    """Tokens written for the thought, with those that end it where the model wrote them."""
    thought_cut: bool = False
    """Whether the budget ended the thought."""


class Writing:
    """What a model has written for one request so far. It takes one token at a time."""

    def __init__(self, request: Request, tokenizer: Any, ends: Collection[int]) -> None:
        self.request, self.ended = request, ""
        self._tokenizer, self._ends = tokenizer, ends
        added = getattr(tokenizer, "added_tokens_decoder", {}).values()
        marks = {*tokenizer.all_special_tokens, *(str(one.content) for one in added if one.special)}
        self._special = [mark for mark in marks if mark]
        self._thinking = request.thinking > 0
        close = tokenizer(request.thinking_end, add_special_tokens=False)["input_ids"] if self._thinking else []
        self._close: list[int] = list(close)
        self._forced: list[int] = []
        self._thought: list[int] = []
        self._answer: list[int] = []
        self._cut = False
        self.last = -1
        """The token that was taken last."""

    @property
    def most(self) -> int:
        """Most tokens that will be put after the prompt."""
        return self.request.thinking + len(self._close) + self.request.max_new_tokens

    @property
    def forced(self) -> int | None:
        """The token that comes next whatever the model chooses, after a thought that was cut; else None."""
        return self._forced[0] if self._forced else None

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.ids)

    def take(self, token: int) -> None:
        """Take the next token, `forced` where there is one instead of the model's choice. After the end: nothing."""
        if self.ended:
            return
        self.last = token = token if self.forced is None else self.forced
        if self._forced:
            self._forced.pop(0)
        elif token in self._ends:
            self.ended = "end"
        elif self._thinking:
            self._thought.append(token)
            self._thinking = not self._holds(self._thought, (self.request.thinking_end,))
            if self._thinking and len(self._thought) == self.request.thinking:
                self._thinking, self._cut, self._forced = False, True, list(self._close)
        else:
            self._answer.append(token)
            if self._holds(self._answer, self.request.stop):
                self.ended = "stop"
            elif len(self._answer) == self.request.max_new_tokens:
                self.ended = "budget"

    def fail(self) -> None:
        """End here, because the model gave no numbers to choose a token by."""
        self.ended = self.ended or BROKEN

    def completion(self) -> Completion:
        """Return what was written. UserError where the model gave NaN."""
        if self.ended == BROKEN:
            raise UserError("the model gave NaN while it wrote an answer")
        spelled = not self._plain([self.request.thinking_end])
        thought, _, after = self._text(self._thought, special=spelled).partition(self.request.thinking_end)
        text, ended = after + self._text(self._answer), self.ended
        before = _before(text, self._plain(self.request.stop))
        if before is None and ended == "stop":
            before = after + self._before_special()
        if before is not None:
            text, ended = before, "stop"
        return Completion(text, len(self._answer), ended, thought, len(self._thought), self._cut)

    def _before_special(self) -> str:
        """Return the answer before a stop string that is, or holds, a special token."""
        spelled = set(self.request.stop) - set(self._plain(self.request.stop))
        before = _before(self._text(self._answer, special=True), sorted(spelled)) or ""
        texts = [self._text(self._answer[:count], special=True) for count in range(len(self._answer))]
        whole = max(count for count, text in enumerate(texts) if len(text) <= len(before))
        return self._text(self._answer[:whole]) + before[len(texts[whole]) :]

    def _holds(self, tokens: list[int], strings: Sequence[str]) -> bool:
        """Whether one of the strings has just been written: whole tokens, or parts of several, spell it."""
        if not strings:
            return False
        tail = tokens[-max(len(string.encode()) for string in strings) - MARGIN :]
        plain = self._plain(strings)
        spelled = [string for string in strings if string not in plain]
        kinds = [(found, special) for found, special in ((plain, False), (spelled, True)) if found]
        return any(
            all(_before(self._text(part, special=special), found) is not None for part in (tail, tokens))
            for found, special in kinds
        )

    def _plain(self, strings: Sequence[str]) -> list[str]:
        """Return the strings that hold no special token. A part of the spelling of one is not written by the model."""
        return [string for string in strings if not any(mark in string for mark in self._special)]

    def _text(self, tokens: Sequence[int], *, special: bool = False) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=not special))


def _before(text: str, strings: Sequence[str]) -> str | None:
    """Return what stands before the first of the strings in a text; None where none of them is in it."""
    places = [place for string in strings if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else None
