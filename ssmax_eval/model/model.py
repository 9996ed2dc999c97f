"""A language model as the tasks see it: a few methods, tokens in, numbers out."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ssmax_eval.attention import Attention, Shape, Unrewritten
from ssmax_eval.attention.functions import at_least_float32
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.rope import refuse_length_dependence
from ssmax_eval.errors import UserError
from ssmax_eval.model.completing import Completion, Request
from ssmax_eval.model.decoding import completions, generate
from ssmax_eval.model.passes import Pass, Reader, Reduce, answering, body_of, paddable, pieces, resumable
from ssmax_eval.positions import PositionMap
from ssmax_eval.positions import parse as parse_position
from ssmax_eval.rewriting import Rewriting, refuse_by_config, rewritten
from ssmax_eval.rewriting.canary import verify_unrewritten

log = logging.getLogger(__name__)

HEAD_ROWS = 128
"""Positions whose logits exist at a time; all of them at once would be T x vocabulary."""


@dataclass(frozen=True)
class Question:
    """Sequences that end with the expected answers, and the rows of attention to look at."""

    ids: Any
    """int64 tokens [B, T], or [T]."""
    answer_tokens: int
    """Last tokens of every sequence whose prediction is wanted."""
    rows: Sequence[int] = ()
    reduce: Reduce | None = None
    """Made of each layer's attention weights in those rows."""


class Answer(NamedTuple):
    """What a model makes of the answers expected of it."""

    logprobs: Tensor
    """Log-probabilities of the expected tokens in nats: float32 [B, answer_tokens], float64 for such a model."""
    chosen: Tensor
    """The tokens that the model would have chosen: int64 [B, answer_tokens]."""
    looked_at: list[Tensor]
    """What `reduce` made of each layer's attention weights."""


class Model:
    """A causal language model and its tokenizer. Without a `rewriting` it runs its own attention, unseen."""

    def __init__(
        self,
        hf: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None = None,
        rewriting: Rewriting | None = None,
        shape: Shape | None = None,
    ) -> None:
        self.hf = hf
        self._tokenizer = tokenizer
        self.rewriting = rewriting
        self.shape = shape
        self.prefill_chunk: int | None = None
        """Tokens that run through the layers at a time, which bounds the memory of activations; None: all."""

    @property
    def attention(self) -> Attention:
        """The attention that runs, with all parameters filled in."""
        return Unrewritten() if self.rewriting is None else self.rewriting.attention

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer. UserError when the checkpoint has none."""
        if self._tokenizer is None:
            raise UserError("this checkpoint has no tokenizer; put its tokenizer files beside its weights")
        return self._tokenizer

    @property
    def max_positions(self) -> int | None:
        """Tokens beyond which the model cannot run at all (a learned position table), or None."""
        length = getattr(self.hf.config.get_text_config(decoder=True), "max_position_embeddings", None)
        tables = [
            m.num_embeddings
            for m in self.hf.modules()
            if isinstance(m, torch.nn.Embedding) and m is not self.hf.get_input_embeddings()
        ]
        return length if length and any(length <= n <= length + 2 for n in tables) else None

    @cached_property
    def resumable(self) -> bool:
        """Whether a pass can be cut back and read on from, so that what texts have in common runs once."""
        return self.rewriting is not None and resumable(self.hf, self.rewriting)

    @cached_property
    def paddable(self) -> bool:
        """Whether texts of several lengths can be read on together."""
        return self.rewriting is not None and self.resumable and paddable(self.hf, self.rewriting, self.body)

    @cached_property
    def body(self) -> torch.nn.Module:
        """The part below the head."""
        return body_of(self.hf)

    @torch.inference_mode()
    def token_losses(self, ids: Any, last: int | None = None) -> Tensor:
        """Return −log p(x_t | x_<t) for t = 1 … T−1, in nats: float32 [T−1], or [B, T−1] for ids [B, T].

        `ids` are int64 tokens; a model in float64 gives float64. `last` keeps only that many tokens at the end, and
        leaves out the logits of the others. One forward pass, or one in pieces with `prefill_chunk`; logits exist for
        a slice of positions at a time.
        """
        batch = self._batch(ids)
        refuse_length_dependence(self.hf.config, batch.shape[1])
        end, losses = batch.shape[1] - 1, []
        begin = 0 if last is None else max(end - last, 0)
        chunk = self._chunk(batch)
        reading = self._pass(0 if chunk is None else end + 1)
        for start, stop in pieces(0, end + 1, chunk):
            hidden, _ = reading.read(batch[:, start:stop])
            for first in range(max(start, begin), min(stop, end), HEAD_ROWS):
                after = min(first + HEAD_ROWS, stop, end)
                logits = self.logits(hidden, first - start, after - start)
                losses.append(_surprise(logits, batch[:, first + 1 : after + 1]).cpu())
        joined = torch.cat(losses, dim=1)
        return joined if torch.as_tensor(ids).ndim == 2 else joined[0]

    def answer(self, ids: Any, answer_tokens: int, rows: Any = (), reduce: Reduce | None = None) -> Answer:
        """Return what the model makes of the last `answer_tokens` tokens of ids [B, T], under teacher forcing.

        With `reduce`, also what that makes of each layer's attention weights in the given `rows`.
        """
        return next(self.answers([Question(ids, answer_tokens, [int(row) for row in rows], reduce)]))

    @torch.inference_mode()
    def answers(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield the answer to each question, in order, as soon as it is known.

        Tokens that a question shares with the beginning of the one before it are not run again, where the model is
        `resumable`. So put questions that share much next to each other.
        """
        reader = self.reader(share=len(questions) > 1 and self.resumable)
        for question in questions:
            batch, tail = self._batch(question.ids), question.answer_tokens + 1
            hidden, start, looked_at = reader.read(batch, tail, question.rows, question.reduce)
            length = batch.shape[1]
            logits = self.logits(hidden, length - tail - start, length - 1 - start)
            yield Answer(-_surprise(logits, batch[:, 1 - tail :]).cpu(), logits.argmax(-1).cpu(), looked_at)

    @torch.inference_mode()
    def attention_rows(self, ids: Any, rows: Any, reduce: Reduce) -> list[Tensor]:
        """Return for each layer `reduce(weights)` of the attention weights [B, H, R, T] in the given rows (int64 [R]).

        Only those rows are ever formed, from the queries and keys of the very calls that attend.
        """
        batch, looked_at = self._batch(ids), list[Tensor]()
        chunk, chosen = self._chunk(batch), [int(row) for row in rows]
        reading = self._pass(0 if chunk is None else batch.shape[1])
        for start, stop in pieces(0, batch.shape[1], chunk):
            _, looked_at = reading.read(batch[:, start:stop], chosen, reduce if stop == batch.shape[1] else None)
        return looked_at

    def key_mass(self, ids: Any, start: int, stop: int) -> Tensor:
        """Return the weight that the last token's row puts on keys start … stop−1: float32 [layers, heads]; ids [T]."""
        length = int(torch.as_tensor(ids).shape[-1])
        if not 0 <= start < stop <= length:
            raise ValueError(f"keys {start}..{stop} are not within the {length} tokens given")
        last = torch.tensor([length - 1])
        masses = self.attention_rows(ids, last, lambda a: a[0, :, 0, start:stop].sum(-1))
        return torch.stack(masses)

    @torch.inference_mode()
    def generate(self, ids: Any, max_new_tokens: int) -> str:
        """Return what the model writes after ids [T], greedily, as text without special tokens.

        Of the checkpoint's own settings of generation the tokens that end a text count, and nothing else.
        """
        batch = self._batch(ids)
        text: str = self.tokenizer.decode(
            generate(self, batch, max_new_tokens)[0, batch.shape[1] :], skip_special_tokens=True
        )
        return text

    @torch.inference_mode()
    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield what the model writes for each request, greedily, in order, each as soon as it is known.

        Tokens are those of `generate` for each prompt by itself. What a prompt shares with the beginning of the one
        before it is run once, where the model is `resumable`, and several requests decode together: so give many, and
        put those that share much next to each other. UserError where the model gives NaN.
        """
        yield from completions(self, requests)

    def reader(self, *, share: bool) -> Reader:
        """Return what reads texts one after the other; with `share`, what they begin with alike is run once."""
        return Reader(self._pass, self._chunk, share=share)

    def _batch(self, ids: Any) -> Tensor:
        batch = torch.as_tensor(ids)
        return (batch if batch.ndim == 2 else batch[None]).to(self.hf.device)

    def _pass(self, room: int) -> Pass:
        return Pass(self.hf, self.rewriting, room=room, body=self.body)

    def _chunk(self, batch: Tensor) -> int | None:
        """Tokens to read at a time, or None for all of them."""
        if self.prefill_chunk is None or batch.shape[1] <= self.prefill_chunk:
            return None
        if not self.resumable:
            log.warning("this model's passes cannot be read in pieces; every text runs whole")
            self.prefill_chunk = None
        return self.prefill_chunk

    def logits(self, hidden: Any, start: int, stop: int) -> Tensor:
        """Return logits [B, stop - start, vocabulary] from hidden states, by the model's own head.

        The model runs its own forward while the part below the head answers with the slice wanted, so that
        whatever the architecture does to its logits (scaling, soft-capping) is kept.
        """
        piece = type(hidden)(last_hidden_state=hidden[0][:, start:stop])
        blank = torch.zeros(piece[0].shape[:2], dtype=torch.long, device=self.hf.device)
        with answering(self.body, lambda *_, **__: piece):
            logits: Tensor = self.hf(input_ids=blank, use_cache=False).logits
            return logits


@contextmanager
def running(
    checkpoint: Checkpoint,
    hf: PreTrainedModel,
    attention: Attention,
    position: PositionMap | None = None,
    *,
    lasting: bool = False,
) -> Iterator[Model]:
    """`hf`, as `checkpoint.load` gave it, running an attention inside the block; with `lasting`, from then on.

    `position` is the position map, None for the model's own positions. `Unrewritten` leaves the model as it is.
    """
    if isinstance(attention, Unrewritten):
        attention.for_shape(checkpoint.shape)
        refuse_unrewritten(attention, position)
        verify_unrewritten(hf)
        yield Model(hf, checkpoint.tokenizer, None, checkpoint.shape)
        return
    with rewritten(hf, attention, position=position, shape=checkpoint.shape, lasting=lasting) as rewriting:
        yield Model(hf, checkpoint.tokenizer, rewriting, checkpoint.shape)


def resolve(checkpoint: Checkpoint, attention: Attention) -> Attention:
    """Return an attention with the parameters that it has on a checkpoint.

    UserError, before any weights are loaded, where the checkpoint's config says that it cannot be rewritten.
    """
    shape = checkpoint.shape
    if not isinstance(attention, Unrewritten):
        if not (shape.layers and shape.heads):
            attention.for_shape(shape)
        refuse_by_config(checkpoint.config)
    return attention.for_shape(shape)


def resolve_position(checkpoint: Checkpoint, position: str | PositionMap | None) -> PositionMap | None:
    """Return a position map with the parameters that it has on a checkpoint; None for the model's own positions.

    `position` is a specification such as "rerope:window=4096", or a map; "auto" is what the checkpoint's config names,
    and "none" stands for the model's own positions. UserError where it cannot be.
    """
    if position == "auto":
        position = checkpoint.position
    chosen = parse_position(position) if isinstance(position, str) else position
    return None if chosen is None else chosen.resolve(checkpoint.shape)


def refuse_unrewritten(attention: Attention, position: PositionMap | None) -> None:
    """Raise UserError for a position map in a model that is not rewritten."""
    if position is not None and isinstance(attention, Unrewritten):
        raise UserError("a position map needs an attention, such as softmax; --attention none leaves a model as it is")


def _surprise(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return −log p of tokens [B, T] under logits [B, T, vocabulary], at least float32.

    torch's cross_entropy on logits that are transposed adds up the vocabulary one by one in float32, which
    biases every token of a vocabulary of 49 152 by 1e-4 nats.
    """
    wide = at_least_float32(logits)
    return wide.logsumexp(-1) - wide.gather(-1, tokens[..., None].to(wide.device))[..., 0]
