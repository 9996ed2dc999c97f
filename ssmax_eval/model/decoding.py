"""Greedy decoding of many requests: with one cache for all, or by transformers' own `generate`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from ssmax_eval.checkpoint.parallel import processes
from ssmax_eval.checkpoint.rope import forget_lengths
from ssmax_eval.memory import SHARE, available
from ssmax_eval.model.cache import Stack
from ssmax_eval.model.completing import Completion, Request, Writing
from ssmax_eval.model.passes import Reader, read_on

if TYPE_CHECKING:
    from ssmax_eval.model.model import Model

MOST_ROWS = 16
"""Requests that decode together at most."""


def completions(model: "Model", requests: Sequence[Request]) -> Iterator[Completion]:
    """Yield what the model writes for each request, in order, each as soon as it is known."""
    own = model.hf.generation_config.eos_token_id
    ends = frozenset([] if own is None else [own] if isinstance(own, int) else own)
    writings = [Writing(request, model.tokenizer, ends) for request in requests]
    told = 0
    for _ in (with_one_cache if model.resumable else by_generate)(model, writings):
        while told < len(writings) and writings[told].ended:
            yield writings[told].completion()
            told += 1


def with_one_cache(model: "Model", writings: Sequence[Writing]) -> Iterator[None]:
    """Read the prompts one by one, what they share once, and decode them together. Yields after every step."""
    reader, left = model.reader(share=True), list(writings)

    def begin(writing: Writing) -> None:
        prompt = _batch([writing], model.device)
        hidden, start, _ = reader.read(prompt, 1)
        last = prompt.shape[1] - 1 - start
        _choose(model.logits(hidden, last, last + 1), [writing])

    while left:
        begin(left[0])
        count = _fitting(left, _bytes_per_token(reader.cache, model.device), same_length=not model.paddable)
        yield from _together(model, left[:count], reader, begin)
        left = left[count:]


def _together(
    model: "Model", writings: Sequence[Writing], reader: Reader, begin: Callable[[Writing], None]
) -> Iterator[None]:
    """Decode these in one stack; the first has begun."""
    length, room = (max(each) for each in zip(*((w.length, w.most) for w in writings), strict=True))
    stack = Stack(model.hf.config, reader.cache, rows=len(writings), length=length, room=room)
    rows: list[Writing] = []
    for writing in writings:
        if writing is not writings[0]:
            begin(writing)
        if not writing.ended:
            stack.add(reader.cache)
            rows.append(writing)
        yield
    stack.close()
    yield from _decode(model, stack, rows)


def _decode(model: "Model", stack: Stack, rows: list[Writing]) -> Iterator[None]:
    """Write on, a token a step; who has ended leaves the stack."""
    device, rewriting = model.device, model.rewriting
    assert rewriting is not None
    while rows:
        ids = torch.tensor([[writing.last] for writing in rows], device=device)
        _choose(model.logits(read_on(model.body, rewriting, stack, ids), 0, 1), rows)
        for row in reversed(range(len(rows))):
            if rows[row].ended:
                stack.remove(row)
                rows[row] = rows[-1]
                rows.pop()
        yield


def _choose(logits: Tensor, rows: Sequence[Writing]) -> None:
    """Give each writing the likeliest token of its logits [B, 1, vocabulary]; in float32, as transformers chooses."""
    last = processes().same(logits[:, -1].float())
    found = torch.where(last.isnan().any(-1), -1, last.argmax(-1)).tolist()  # a GPU is waited for once
    for writing, token in zip(rows, found, strict=True):
        if token < 0:
            writing.fail()
        writing.take(token)


def _note_broken(logits: Tensor, rows: Sequence[Writing]) -> None:
    """Note which writings have NaN among their logits [B, vocabulary]: there, no token is the likeliest."""
    for writing, broken in zip(rows, logits.isnan().any(-1).tolist(), strict=True):
        if broken:
            writing.fail()


def _bytes_per_token(cache: DynamicCache, device: torch.device) -> dict[torch.device, float]:
    """Return what keys and values take for a token of one text, by device.

    All layers where they are kept; two layers on the model's own device, where that is another.
    """
    layers: Any = cache.layers
    every = sum(x.nbytes for layer in layers for x in (layer.keys, layer.values)) / cache.get_seq_length()
    return {device: 2 * every / len(layers), layers[0].keys.device: every}


def _fitting(writings: Sequence[Writing], per_token: Mapping[torch.device, float], *, same_length: bool) -> int:
    """Return how many of the first texts to decode together: as many as fit into memory at `per_token` bytes.

    They have the same length, or none is less than half as long as another, since it would be mostly padding.
    """
    most = SHARE * min(available(device) / need for device, need in per_token.items())  # tokens
    most = min(processes().every(most))
    lengths, room = list[int](), 0
    for before, writing in enumerate(writings[:MOST_ROWS]):
        lengths.append(writing.length)
        room = max(room, writing.most)
        apart = max(lengths) > (1 if same_length else 2) * min(lengths)
        if before and (apart or (before + 1) * (max(lengths) + room) > most):
            return before
    return len(lengths)


def by_generate(model: "Model", writings: Sequence[Writing]) -> Iterator[None]:
    """Let transformers' `generate` write, for prompts of one length together. Yields after each batch of them."""
    left, per_token = list(writings), {model.device: _guessed_bytes_per_token(model.hf)}
    while left:
        count = _fitting(left, per_token, same_length=True)
        together, left = left[:count], left[count:]
        generate(
            model,
            _batch(together, model.device),
            max(writing.most for writing in together),
            logits_processor=LogitsProcessorList([_Forcing(together)]),
            stopping_criteria=StoppingCriteriaList([_Following(together)]),
        )
        yield


def _guessed_bytes_per_token(hf: PreTrainedModel) -> float:
    """Return about what a token of one text takes where nothing is known of its cache, with the widest layer.

    A model that cannot leave out logits makes those of the whole prompt.
    """
    vocabulary, width = hf.get_input_embeddings().weight.shape
    layers = int(getattr(hf.config.get_text_config(decoder=True), "num_hidden_layers", 0) or 32)
    logits = 0 if "logits_to_keep" in signature(hf.forward).parameters else vocabulary
    return float(hf.dtype.itemsize * (width * (2 * layers + 24) + logits))


def generate(model: "Model", ids: Tensor, max_new_tokens: int, **hooks: Any) -> Tensor:
    """Return what transformers' `generate` makes of ids [B, T], greedily: int64 [B, T + tokens written].

    Of the checkpoint's own settings of generation the tokens that end a text count, and nothing else.
    """
    forget_lengths(model.hf)
    own, tokenizer = model.hf.generation_config, model.tokenizer
    greedy = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=own.eos_token_id,
        pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id or 0,
    )
    processors = LogitsProcessorList([_Same(), *hooks.pop("logits_processor", ())])
    model.hf.generation_config = greedy  # or its repetition penalty, say, would be put into ours
    try:
        mask = torch.ones_like(ids)
        output: Tensor = model.hf.generate(
            ids, attention_mask=mask, generation_config=greedy, logits_processor=processors, **hooks
        )
    finally:
        model.hf.generation_config = own
    return output


class _Same(LogitsProcessor):  # type: ignore[misc]
    """Lets all processes that hold the model choose by the logits of the first."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return processes().same(scores)


class _Forcing(LogitsProcessor):  # type: ignore[misc]
    """Puts in the tokens that come next whatever the model would choose."""

    def __init__(self, rows: Sequence[Writing]) -> None:
        self.rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        _note_broken(scores, self.rows)
        for row, writing in enumerate(self.rows):
            if writing.forced is not None:
                scores[row] = -torch.inf
                scores[row, writing.forced] = 0.0
        return scores


class _Following(StoppingCriteria):  # type: ignore[misc]
    """Hands each new token to its writing, and says which have ended."""

    def __init__(self, rows: Sequence[Writing]) -> None:
        self.rows = rows

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        for writing, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
            writing.take(token)
        return torch.tensor([bool(writing.ended) for writing in self.rows], device=input_ids.device)


def _batch(writings: Sequence[Writing], device: torch.device) -> Tensor:
    """Return prompts of one length, int64 [B, T]."""
    return torch.tensor([list(writing.request.ids) for writing in writings], device=device)
