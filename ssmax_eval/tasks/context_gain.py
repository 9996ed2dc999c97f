"""Context gain: how much better are the same tokens predicted with a long context than with its last tokens alone?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssmax_eval.corpus import text_digest
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.tasks.base import Measure, Task
from ssmax_eval.tasks.loss import Document, Loss, beginning

if TYPE_CHECKING:
    from ssmax_eval.model import Model

UNITS = ("source", "document_digest", "document")
SAME = ("source", "document", "document_digest")


@dataclass(frozen=True, kw_only=True)
class ContextGain(Loss):
    """The loss of the last tokens of a document with only the tokens right before them, minus the loss of the same
    tokens with a whole context before them.

    A context of L tokens is the special tokens that begin a text and the end of a document, so all lengths have the
    same target, and only what stands before it grows. The short context is made in the same way: its first target
    token sees `near` tokens of the text, its last one `near + target_tokens - 1`. A model that makes no use of what is
    further away gains 0, and one that is confused by it loses. Base models can be measured, and nothing is retrieved.

    A gain compares a model with itself. One that is bad in short contexts gains much, so compare `loss_long`, too.
    The built-in text joins short topics, of which one says little about another: give a long `--text`.
    """

    version = 1
    quantities = (
        Quantity("gain", "context gain", "nats per token", "higher", units=UNITS, same=SAME, section="Context gain",
                 about="By how much the loss of the same tokens falls when the model sees the whole context, and not "
                       "only the last tokens before them. Above 0, the distant context helps. A model that is bad in "
                       "short contexts has room to gain, so read it beside the loss."),
        Quantity("loss_long", "loss with the whole context", "nats per token", "lower", units=UNITS, same=SAME,
                 between=(0.0, None), section="Context gain",
                 about="The loss of those tokens, which are the same at every context length."),
        Quantity("loss_short", "loss with the last tokens alone", "nats per token", "lower", units=UNITS, same=SAME,
                 views=(), between=(0.0, None), section="Context gain"),
    )  # fmt: skip
    shorter = "a smaller document_tokens"

    near: int = 128
    """Tokens before the target in the short context."""
    target_tokens: int = 128
    """Last tokens of a context, whose loss is compared."""
    document_tokens: int = 8192
    """Tokens of each document, at whose end the target stands: the longest context that there can be."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.near < 1 or self.target_tokens < 1:
            raise UserError(f"near and target_tokens must be 1 or more; given {self.near} and {self.target_tokens}")
        if (longest := max(self.lengths)) > self.document_tokens:
            raise UserError(
                f"lengths must be at most document_tokens, {self.document_tokens}: every context ends where its "
                f"document ends; given {longest}, try --set document_tokens={longest}"
            )
        refuse_short(self, self.near + self.target_tokens, "near and target_tokens")

    def bind(self, model: "Model") -> Measure:
        begin = beginning(model.tokenizer)
        tokens = len(begin) + self.near + self.target_tokens
        refuse_short(self, tokens, "near, target_tokens and the special tokens that begin a text")
        documents = self.cut(model.tokenizer, self.document_tokens)
        short: dict[int, Tensor] = {}

        def losses(length: int, numbers: Sequence[int]) -> Tensor:
            """The losses [B, target_tokens] at the end of some documents in contexts of `length` tokens."""
            ids = [begin + documents[number].ids[len(begin) - length :] for number in numbers]
            return model.token_losses(torch.tensor(ids), self.target_tokens)

        def measure(cells: Sequence[Cell]) -> list[Measurement]:
            length, numbers = cells[0].context_length, [cell.document or 0 for cell in cells]
            if new := [number for number in numbers if number not in short]:
                short.update(zip(new, losses(tokens, new), strict=True))
            return [
                Measurement(
                    cell, {**self._about(documents[number]), "actual_length": length, **gain(long, short[number])}
                )
                for cell, number, long in zip(cells, numbers, losses(length, numbers), strict=True)
            ]

        return measure

    def show(self, measurement: Measurement, tokenizer: Any) -> str:
        """Return the values, the text of the short context, and the target."""
        number = measurement.cell.document or 0
        document = self.cut(tokenizer, self.document_tokens, number + 1)[number]
        if measurement.values.get("document_digest") != self._about(document)["document_digest"]:
            raise UserError(f"document {number} of {self.document_tokens} tokens is not the one that was measured")
        end = len(document.ids) - self.target_tokens
        before, target = (tokenizer.decode(document.ids[i:j]) for i, j in ((end - self.near, end), (end, None)))
        lines = [f"before    ... {' '.join(before.split())}", f"target    {' '.join(target.split())}"]
        return "\n".join([*lines, Task.show(self, measurement, tokenizer)])

    def _about(self, document: Document) -> dict[str, Any]:
        """What a cell says of its document; the digest is also that of the target, and of what the short context is."""
        told = f"{document.text} [{self.near} + {self.target_tokens}]"
        return {"source": document.source, "document_digest": text_digest(told)}


def refuse_short(task: Task, tokens: int, what: str) -> None:
    """Raise UserError for a length that leaves no distant context besides the `tokens` of a short one."""
    if (shortest := min(task.lengths)) <= tokens:
        raise UserError(
            f"{what} take {tokens} tokens, which leaves no distant context in a length of {shortest}; give longer "
            "--lengths, or a smaller near"
        )


def gain(long: Tensor, short: Tensor) -> dict[str, float]:
    """Return what a cell says of the losses of the same tokens in a long and in a short context: means, in nats."""
    with_all, alone = (float(losses.double().mean()) for losses in (long, short))
    return {"gain": round(alone - with_all, 6), "loss_long": round(with_all, 6), "loss_short": round(alone, 6)}
