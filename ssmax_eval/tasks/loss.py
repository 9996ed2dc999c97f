"""Test loss by position and by length."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ssmax_eval.corpus import Text, shuffled
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.tasks.base import Measure, Task, grid

if TYPE_CHECKING:
    from ssmax_eval.model import Model


SHOWN = 10
"""Tokens of a document that `show` lists."""


class Document(NamedTuple):
    """What one cell is measured on."""

    source: str
    """Name of the text that it begins in."""
    ids: list[int]
    """Its tokens."""


@dataclass(frozen=True, kw_only=True)
class Loss(Task):
    """−log p of every token of long documents, in nats. One pass gives the loss at every position, and so the mean over
    the first L tokens for every L.
    """

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

    def show(self, measurement: Measurement, tokenizer: Any) -> str:
        """Return the mean loss of a document and its least expected tokens, each after what stands before it."""
        cell = measurement.cell
        number = cell.document or 0
        source, ids = self.cut(tokenizer, cell.context_length, number + 1)[number]
        losses = [float(x) for x in measurement.rows["nll"] if x is not None]
        lines = [f"document {source!r}: {sum(losses) / len(losses):.4f} nats per token; the least expected tokens:"]
        for i in sorted(range(len(losses)), key=losses.__getitem__, reverse=True)[:SHOWN]:
            before, token = tokenizer.decode(ids[max(0, i - 12) : i + 1]), tokenizer.decode([ids[i + 1]])
            lines.append(f"{i + 1:>7}  {losses[i]:>6.2f}  ...{' '.join(before.split())[-50:]} >{token}<")
        return "\n".join(lines)

    def cut(self, tokenizer: Any, length: int, count: int | None = None) -> list[Document]:
        """Return documents of exactly `length` tokens: `count` of them, or as many as the task has.

        A user's text gives its opening, then what follows, as often as it goes; texts take turns. The built-in
        topics are joined, in an order drawn from the seed, and every document starts at the beginning of a topic.
        UserError when the text is too short.
        """
        count = count or self.documents
        if self.texts:
            found = _windows(tokenizer, self.read(), length, count)
        else:
            found = _joined(tokenizer, shuffled(self.read(), self.seed), length, count)
        if len(found) < count:
            raise UserError(
                f"the text gives {len(found)} documents of {length} tokens, not {count}; "
                "give a longer --text, shorter --lengths or fewer documents"
            )
        return found


def _encode(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text, with the special tokens that begin a text and without those that end one."""
    encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
    stop = len(encoded["input_ids"])
    while stop and encoded["special_tokens_mask"][stop - 1]:
        stop -= 1
    ids: list[int] = encoded["input_ids"][:stop]
    return ids


def _windows(tokenizer: Any, texts: Sequence[Text], length: int, wanted: int) -> list[Document]:
    """Return consecutive windows: the first of every text, then the second, and so on.

    Each begins with the special tokens that begin a text.
    """
    begin = _encode(tokenizer, "")
    body = length - len(begin)
    turns: list[list[Document]] = []
    for text in texts:
        ids = tokenizer(text.content, add_special_tokens=False, verbose=False)["input_ids"]
        fits = min(len(ids) // body, wanted)
        turns.append([Document(text.name, begin + ids[i * body : (i + 1) * body]) for i in range(fits)])
    rounds = range(max(map(len, turns), default=0))
    return [turn[i] for i in rounds for turn in turns if i < len(turn)][:wanted]


def _joined(tokenizer: Any, texts: Sequence[Text], length: int, wanted: int) -> list[Document]:
    """Return texts put together until each document is long enough, cut at exactly `length` tokens."""
    documents: list[Document] = []
    parts: list[Text] = []
    tokens = 0
    for text in texts:
        parts.append(text)
        tokens += len(_encode(tokenizer, text.content))
        if tokens >= length:
            ids = _encode(tokenizer, "\n\n".join(part.content for part in parts))
            if len(ids) < length:
                continue
            documents.append(Document(parts[0].name, ids[:length]))
            parts, tokens = [], 0
        if len(documents) == wanted:
            break
    return documents
