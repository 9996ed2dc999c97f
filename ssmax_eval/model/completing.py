"""What a model writes after a prompt: a request, and its completion."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Request:
    """A prompt, and how much may be written after it."""

    ids: Sequence[int]
    """The prompt's tokens."""
    max_new_tokens: int
    """Tokens that the answer may have."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    thinking: int = 0
    """Tokens that the model may think before it answers; 0: it does not think."""
    thinking_end: str = "</think>"
    """The text that ends the thought."""


class Completion(NamedTuple):
    """What a model wrote."""

    text: str
    """The answer, without special tokens and without the text that stopped it."""
    tokens: int
    """Tokens of the answer."""
    ended: str
    """"end" (a token of the model's own), "stop" (one of the texts to stop at) or "budget" (it was cut off)."""
    thought: str = ""
    thought_tokens: int = 0
    thought_cut: bool = False
    """Whether the budget for thought ended it."""
