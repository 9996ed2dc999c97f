"""Test loss by position and by length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ssmax_eval.corpus import Text, shuffled
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.tasks.base import Measure, Task, grid

if TYPE_CHECKING:
    from ssmax_eval.model import Model


@dataclass(frozen=True, kw_only=True)
class Loss(Task):
    """−log p of every token of long documents: one pass gives every position, and the mean to every length."""

    kind = "loss"
    about = "test loss by position and by length, in nats per token"
    version = 2  # 1: losses of OPT and Whisper models were computed from blank tokens
    quantities = (
        Quantity("nll", "loss", "nats per token", "lower", pool="prefix", units=("source", "document"),
                 same=("source", "document"), views=("by_position", "by_length", "perplexity"), between=(0.0, None),
                 section="Loss", about="How well each token is predicted from all before it. Lower is better."),
    )  # fmt: skip

    documents: int = grid(4)
    """Documents of each length."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.documents < 1:
            raise UserError(f"documents must be 1 or more; given {self.documents}")

    def cells(self) -> list[Cell]:
        return [Cell(length, document=i) for length in self.lengths for i in range(self.documents)]

    def bind(self, model: "Model") -> Measure:
        documents = {length: self.cut(model.tokenizer, length) for length in self.lengths}

        def measure(cells: Sequence[Cell]) -> list[Measurement]:
            chosen = [documents[cell.context_length][cell.document or 0] for cell in cells]
            losses = model.token_losses(torch.tensor([ids for _, ids in chosen]))
            positions = range(1, losses.shape[1] + 1)
            return [
                Measurement(cell, {"source": source}, {"position": positions, "nll": nll.tolist()})
                for cell, (source, _), nll in zip(cells, chosen, losses, strict=True)
            ]

        return measure

    def cut(self, tokenizer: Any, length: int) -> list[tuple[str, list[int]]]:
        """Documents of exactly `length` tokens, with the name of their text. UserError when the text is too short.

        A user's text gives its opening, then what follows, as often as it goes; texts take turns. The built-in
        topics are joined, in an order drawn from the seed, and every document starts at a topic's beginning.
        """
        if self.texts:
            found = _windows(tokenizer, self.read(), length, self.documents)
        else:
            found = _joined(tokenizer, shuffled(self.read(), self.seed), length, self.documents)
        if len(found) < self.documents:
            raise UserError(
                f"the text gives {len(found)} documents of {length} tokens, not {self.documents}; "
                "give a longer --text, shorter --lengths or fewer documents"
            )
        return found


def _encode(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a text, after the special tokens that begin one; without those that end one."""
    encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
    stop = len(encoded["input_ids"])
    while stop and encoded["special_tokens_mask"][stop - 1]:
        stop -= 1
    ids: list[int] = encoded["input_ids"][:stop]
    return ids


def _windows(tokenizer: Any, texts: Sequence[Text], length: int, wanted: int) -> list[tuple[str, list[int]]]:
    """Consecutive windows, each begun as a text is; the first of every text, then the second, and so on."""
    begin = _encode(tokenizer, "")
    body = length - len(begin)
    turns: list[list[tuple[str, list[int]]]] = []
    for text in texts:
        ids = tokenizer(text.content, add_special_tokens=False, verbose=False)["input_ids"]
        fits = min(len(ids) // body, wanted)
        turns.append([(text.name, begin + ids[i * body : (i + 1) * body]) for i in range(fits)])
    rounds = range(max(map(len, turns), default=0))
    return [turn[i] for i in rounds for turn in turns if i < len(turn)][:wanted]


def _joined(tokenizer: Any, texts: Sequence[Text], length: int, wanted: int) -> list[tuple[str, list[int]]]:
    """Texts put together until each document is long enough, cut at exactly `length` tokens."""
    documents: list[tuple[str, list[int]]] = []
    parts: list[Text] = []
    tokens = 0
    for text in texts:
        parts.append(text)
        tokens += len(_encode(tokenizer, text.content))
        if tokens >= length:
            ids = _encode(tokenizer, "\n\n".join(part.content for part in parts))
            if len(ids) < length:
                continue
            documents.append((parts[0].name, ids[:length]))
            parts, tokens = [], 0
        if len(documents) == wanted:
            break
    return documents
