"""Test loss by position and by length."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch

from ssmax_eval.corpus import Text, shuffled, text_digest
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.tasks.base import Measure, Task, grid

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint
    from ssmax_eval.model import Model


SHOWN = 10
"""Tokens of a document that `show` lists."""


class Document(NamedTuple):
    """What one cell is measured on."""

    source: str
    """Name of the text that it begins in."""
    ids: list[int]
    """Its tokens."""
    text: str = ""
    """What they say; what a tokenizer cuts through is counted whole."""
    predicted: str = ""
    """The part of the text that is predicted: all of it after the first token."""

    def values(self) -> dict[str, Any]:
        """Return what a cell says of its document; of the predicted text the UTF-8 bytes, for bits per byte."""
        size = len(self.predicted.encode(errors="surrogatepass"))
        return {"source": self.source, "document_digest": text_digest(self.text), "bytes": size}


@dataclass(frozen=True, kw_only=True)
class Loss(Task):
    """−log p of every token of long documents, in nats. One pass gives the loss at every position, and so the mean over
    the first L tokens for every L.
    """

    version = 2  # 1: losses of OPT and Whisper models were computed from blank tokens
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("nll", "loss", "nats per token", "lower", pool="prefix",
                 units=("source", "document_digest", "document"), same=("source", "document", "document_digest"),
                 views=("by_position", "by_length", "perplexity"), between=(0.0, None),
                 section="Loss", about="How well each token is predicted from all before it. Lower is better."),
    )  # fmt: skip

    shorter: ClassVar[str] = "shorter --lengths"
    """What makes documents shorter, for messages."""

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
            losses = model.token_losses(torch.tensor([document.ids for document in chosen]))
            positions = range(1, losses.shape[1] + 1)
            return [
                Measurement(cell, document.values(), {"position": positions, "nll": nll.tolist()})
                for cell, document, nll in zip(cells, chosen, losses, strict=True)
            ]

        return measure

    def of_checkpoint(self, checkpoint: "Checkpoint") -> dict[str, Any]:
        """Return the special tokens that windows of a given text begin with. (They were left out once.)"""
        begin = beginning(checkpoint.tokenizer) if self.texts and checkpoint.tokenizer is not None else []
        return {"begin": begin} if begin else {}

    def show(self, measurement: Measurement, tokenizer: Any) -> str:
        """Return the mean loss of a document and its least expected tokens, each after what stands before it."""
        cell = measurement.cell
        number = cell.document or 0
        document = self.cut(tokenizer, cell.context_length, number + 1)[number]
        if measurement.values.get("document_digest") not in (None, text_digest(document.text)):
            raise UserError(f"document {number} of {cell.context_length} tokens is not the one that was measured")
        source, ids = document.source, document.ids
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
        found = self.up_to(tokenizer, length, count)
        if len(found) < count:
            raise UserError(
                f"the text gives {len(found)} documents of {length} tokens, not {count}; "
                f"give a longer --text, {self.shorter} or fewer documents"
            )
        return found

    def up_to(self, tokenizer: Any, length: int, most: int) -> list[Document]:
        """Return the documents of `cut`, `most` of them, or fewer where the text gives no more."""
        if self.texts:
            return list(_windows(tokenizer, tuple(self.read()), length, most))
        return _joined(tokenizer, shuffled(self.read(), self.seed), length, most)


class Tokens(NamedTuple):
    """A text as tokens."""

    ids: list[int]
    ends: list[int]
    """Where in the text each token ends."""

    def span(self, text: str, start: int, stop: int) -> str:
        """Return what tokens start ... stop-1 say, with any space before them."""
        return text[self.ends[start - 1] if start else 0 : self.ends[stop - 1]]


def _encode(tokenizer: Any, text: str, *, special: bool = True) -> Tokens:
    """Return the tokens of a text, with the special tokens that begin a text (or none) and without those that end one.

    A tokenizer that is not fast says nothing of places: what its tokens say is decoded, as often as it takes.
    """
    fast = bool(getattr(tokenizer, "is_fast", False))
    encoded = tokenizer(
        text,
        add_special_tokens=special,
        return_special_tokens_mask=True,
        return_offsets_mapping=fast,
        verbose=False,
    )
    stop = len(encoded["input_ids"])
    while special and stop and encoded["special_tokens_mask"][stop - 1]:
        stop -= 1
    ids: list[int] = encoded["input_ids"][:stop]
    ends = list(accumulate((end for _, end in encoded["offset_mapping"][:stop]), max)) if fast else []
    return Tokens(ids, ends)


def beginning(tokenizer: Any) -> list[int]:
    """Return the special tokens that begin a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True, verbose=False)
    pairs = zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    return [token for token, _ in takewhile(lambda pair: pair[1], pairs)]


def _document(
    tokenizer: Any, source: str, begin: list[int], text: str, tokens: Tokens, start: int, stop: int
) -> Document:
    """Return tokens start ... stop-1 of a text as a document that begins with the special tokens `begin`."""
    ids = begin + tokens.ids[start:stop]
    first = start + (not begin)
    if tokens.ends:
        return Document(source, ids, tokens.span(text, start, stop), tokens.span(text, first, stop))
    decoded = [tokenizer.decode(tokens.ids[i:stop], skip_special_tokens=True) for i in (start, first)]
    return Document(source, ids, *decoded)


@lru_cache(maxsize=4)
def _windows(tokenizer: Any, texts: tuple[Text, ...], length: int, wanted: int) -> tuple[Document, ...]:
    """Return consecutive windows: the first of every text, then the second, and so on.

    They are kept for the next attention: encoding six novels takes some 15 seconds.

    Each begins with the special tokens that begin a text. Window i starts at i times the length, so the windows of
    another length are other texts, which their digests tell apart.
    """
    begin = beginning(tokenizer)
    body = length - len(begin)
    turns: list[list[Document]] = []
    for text in texts:
        tokens = _encode(tokenizer, text.content, special=False)
        starts = [i * body for i in range(min(len(tokens.ids) // body, wanted))]
        turns.append([_document(tokenizer, text.name, begin, text.content, tokens, i, i + body) for i in starts])
    rounds = range(max(map(len, turns), default=0))
    return tuple(turn[i] for i in rounds for turn in turns if i < len(turn))[:wanted]


def _joined(tokenizer: Any, texts: Sequence[Text], length: int, wanted: int) -> list[Document]:
    """Return texts put together until each document is long enough, cut at exactly `length` tokens."""
    documents: list[Document] = []
    parts: list[Text] = []
    count = 0
    for text in texts:
        parts.append(text)
        count += len(_encode(tokenizer, text.content).ids)
        if count >= length:
            joined = "\n\n".join(part.content for part in parts)
            tokens = _encode(tokenizer, joined)
            if len(tokens.ids) < length:
                continue
            documents.append(_document(tokenizer, parts[0].name, [], joined, tokens, 0, length))
            parts, count = [], 0
        if len(documents) == wanted:
            break
    return documents
