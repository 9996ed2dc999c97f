"""A language model as the tasks see it: a few methods, tokens in, numbers out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ssmax_eval.attention import Attention, Extras, Shape, Visible
from ssmax_eval.errors import UserError
from ssmax_eval.loader.rewriting import Rewriting
from ssmax_eval.loader.rope import forget_lengths, refuse_length_dependence

HEAD_ROWS = 512
"""Positions whose logits exist at a time; all of them at once would be T x vocabulary."""


class Model:
    """A causal language model whose attention is rewritten, with its tokenizer."""

    def __init__(
        self,
        hf: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase | None,
        rewriting: Rewriting,
        shape: Shape,
    ) -> None:
        self.hf = hf
        self._tokenizer = tokenizer
        self.rewriting = rewriting
        self.shape = shape
        self.lasting: object = None
        """Keeps the rewriting in force for as long as the model lives, where no `with` block does."""

    @property
    def attention(self) -> Attention:
        """The attention that runs, its parameters settled."""
        return self.rewriting.attention

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

    @torch.inference_mode()
    def token_losses(self, ids: Any) -> Tensor:
        """−log p(x_t | x_<t) for t = 1 … T−1, in nats: float32 [T−1], or [B, T−1] for ids [B, T].

        `ids` are int64 tokens. One forward pass; logits exist for a slice of positions at a time.
        """
        batch = self._batch(ids)
        refuse_length_dependence(self.hf.config, batch.shape[1])
        hidden = self._hidden(batch)
        losses = [
            _surprise(self._logits(hidden, start, stop), batch[:, start + 1 : stop + 1]).cpu()
            for start, stop in _slices(batch.shape[1] - 1)
        ]
        joined = torch.cat(losses, dim=1)
        return joined if torch.as_tensor(ids).ndim == 2 else joined[0]

    @torch.inference_mode()
    def answer(
        self, ids: Any, answer_tokens: int, rows: Tensor | None = None, reduce: "Reduce | None" = None
    ) -> "tuple[Tensor, Tensor, list[Tensor]]":
        """What the model makes of the last `answer_tokens` tokens of ids [B, T], under teacher forcing.

        Their log-probabilities in nats (float32 [B, answer_tokens]), the tokens it would have chosen (int64,
        likewise), and with `reduce` what that makes of each layer's attention weights in the given `rows`.
        """
        batch = self._batch(ids)
        with self._probing(rows, reduce) as looked_at:
            hidden = self._hidden(batch)
        length = batch.shape[1]
        logits = self._logits(hidden, length - 1 - answer_tokens, length - 1)
        return -_surprise(logits, batch[:, -answer_tokens:]).cpu(), logits.argmax(-1).cpu(), looked_at

    @torch.inference_mode()
    def attention_rows(self, ids: Any, rows: Tensor, reduce: "Reduce") -> list[Tensor]:
        """For each layer, `reduce(weights)` of the attention weights [B, H, R, T] in the given rows (int64 [R]).

        Only those rows are ever formed, from the queries and keys of the very call that attends.
        """
        with self._probing(rows, reduce) as looked_at:
            self._hidden(self._batch(ids))
        return looked_at

    def key_mass(self, ids: Any, start: int, stop: int) -> Tensor:
        """Weight that the last token's row puts on keys start … stop−1: float32 [layers, heads]; ids [T]."""
        length = int(torch.as_tensor(ids).shape[-1])
        if not 0 <= start < stop <= length:
            raise ValueError(f"keys {start}..{stop} are not within the {length} tokens given")
        last = torch.tensor([length - 1])
        masses = self.attention_rows(ids, last, lambda a: a[0, :, 0, start:stop].sum(-1))
        return torch.stack(masses)

    @torch.inference_mode()
    def generate(self, ids: Any, max_new_tokens: int) -> str:
        """What the model writes after ids [T], greedily, as text without special tokens."""
        batch = self._batch(ids)
        forget_lengths(self.hf)
        greedy = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_new_tokens,
            eos_token_id=self.hf.generation_config.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id or 0,
        )
        output = self.hf.generate(batch, attention_mask=torch.ones_like(batch), generation_config=greedy)
        text: str = self.tokenizer.decode(output[0, batch.shape[1] :], skip_special_tokens=True)
        return text

    def _batch(self, ids: Any) -> Tensor:
        batch = torch.as_tensor(ids)
        return (batch if batch.ndim == 2 else batch[None]).to(self.hf.device)

    def _hidden(self, batch: Tensor) -> Any:
        """The output of the model below its head."""
        forget_lengths(self.hf)
        return self.hf.base_model(input_ids=batch, use_cache=False)

    def _logits(self, hidden: Any, start: int, stop: int) -> Tensor:
        """Logits [B, stop - start, vocabulary] from hidden states, by the model's own head.

        The model runs its own forward while the part below the head answers with the slice wanted, so that
        whatever the architecture does to its logits (scaling, soft-capping) is done.
        """
        base, piece = self.hf.base_model, type(hidden)(last_hidden_state=hidden[0][:, start:stop])
        own = base.__dict__.get("forward")
        base.forward = lambda *_, **__: piece
        try:
            blank = torch.zeros(piece[0].shape[:2], dtype=torch.long, device=self.hf.device)
            logits: Tensor = self.hf(input_ids=blank, use_cache=False).logits
            return logits
        finally:
            if own is None:
                del base.forward
            else:
                base.forward = own

    @contextmanager
    def _probing(self, rows: Tensor | None, reduce: "Reduce | None") -> Iterator[list[Tensor]]:
        looked_at: dict[int, Tensor] = {}

        def probe(
            layer: int,
            query: Tensor,
            key: Tensor,
            visible: Visible,
            scaling: float,
            attention: Attention,
            extras: Extras,
        ) -> None:
            assert rows is not None
            assert reduce is not None
            here = rows.to(query.device)
            weights = attention.weights_with(extras.at(here), query[:, :, here], key, visible.at(here), scaling, layer)
            looked_at[layer] = reduce(weights).cpu()

        result: list[Tensor] = []
        self.rewriting.probe = probe if reduce is not None else None
        try:
            yield result
        finally:
            self.rewriting.probe = None
        if reduce is not None and not looked_at:
            raise RuntimeError("another rewriting of the same model is in force; use its Model instead")
        result.extend(looked_at[layer] for layer in sorted(looked_at))


Reduce = Callable[[Tensor], Tensor]
"""Makes something small of the attention weights [B, H, R, T] of one layer."""


def _surprise(logits: Tensor, tokens: Tensor) -> Tensor:
    """−log p of tokens [B, T] under logits [B, T, vocabulary], float32.

    torch's cross_entropy on logits that are transposed adds up the vocabulary one by one in float32, which
    biases every token of a vocabulary of 49 152 by 1e-4 nats.
    """
    wide = logits.float()
    return wide.logsumexp(-1) - wide.gather(-1, tokens[..., None].to(wide.device))[..., 0]


def _slices(length: int) -> Sequence[tuple[int, int]]:
    return [(start, min(start + HEAD_ROWS, length)) for start in range(0, length, HEAD_ROWS)]
