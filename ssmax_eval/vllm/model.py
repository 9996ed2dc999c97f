"""A checkpoint in vLLM, with the methods that tasks use of a model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from vllm import SamplingParams

from ssmax_eval.attention import Attention
from ssmax_eval.errors import UserError
from ssmax_eval.model import Answer, Completion, Question, Request
from ssmax_eval.model.completing import Writing
from ssmax_eval.vllm.engine import Engine, device_words
from ssmax_eval.vllm.forcing import FORCED

TOGETHER = 32
"""Requests that are handed over at once; vLLM orders them by itself."""


class Served:
    """What `Model` is for transformers, where vLLM runs the model. No attention weights can be seen."""

    def __init__(self, engine: Engine, attention: Attention) -> None:
        self.engine, self.attention = engine, attention
        self.prefill_chunk: int | None = engine.chunk
        """Tokens that run through the layers together. It is set when vLLM starts."""
        self.offload_cache = "off"
        """Where keys and values lie is vLLM's to choose."""

    @property
    def tokenizer(self) -> Any:
        """The transformers tokenizer. UserError when the checkpoint has none."""
        if self.engine.checkpoint.tokenizer is None:
            raise UserError("this checkpoint has no tokenizer; put its tokenizer files beside its weights")
        return self.engine.checkpoint.tokenizer

    @property
    def max_positions(self) -> int | None:
        """Tokens beyond which the model cannot run at all, or None."""
        return self.engine.max_positions

    @property
    def where(self) -> str:
        """What it runs on, in words."""
        return device_words()

    @property
    def hf(self) -> NoReturn:
        """There is no model of transformers. UserError."""
        raise UserError("this needs the model in transformers; measure it with --engine transformers")

    def token_losses(self, ids: Any, last: int | None = None) -> Tensor:
        """Return −log p(x_t | x_<t), as `Model.token_losses`: float32 [T−1], or [B, T−1]."""
        batch = torch.as_tensor(ids)
        texts = [row.tolist() for row in (batch if batch.ndim == 2 else batch[None])]
        outputs = self._ask(texts, [SamplingParams(**PLAIN, max_tokens=1, prompt_logprobs=0)] * len(texts))
        losses = torch.tensor(
            [
                [-given[token].logprob for given, token in zip(output.prompt_logprobs[1:], text[1:], strict=True)]
                for output, text in zip(outputs, texts, strict=True)
            ]
        )
        losses = losses if last is None else losses[:, max(losses.shape[1] - last, 0) :]
        return losses if batch.ndim == 2 else losses[0]

    def answer(self, ids: Any, answer_tokens: int, rows: Any = (), reduce: Any = None) -> Answer:
        """Return what the model makes of the last `answer_tokens` tokens of ids [B, T], under teacher forcing."""
        return next(self.answers([Question(ids, answer_tokens, rows, reduce)]))

    def answers(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Yield the answer to each question, in order: the tokens before it are read, those expected are forced.

        What texts begin with alike is read once, since vLLM caches prefixes.
        """
        if any(question.reduce is not None for question in questions):
            raise UserError("vLLM shows no attention weights; measure this with --engine transformers")
        prompts: list[list[int]] = []
        parameters: list[SamplingParams] = []
        for question in questions:
            batch = torch.as_tensor(question.ids)
            for row in (batch if batch.ndim == 2 else batch[None]).tolist():
                cut = len(row) - question.answer_tokens
                prompts.append(row[:cut])
                parameters.append(_forced(row[cut:]))
        outputs = iter(self._ask(prompts, parameters))
        given = iter(parameters)
        for question in questions:
            batch = torch.as_tensor(question.ids)
            rows = [_read(next(outputs), next(given)) for _ in range(len(batch) if batch.ndim == 2 else 1)]
            yield Answer(torch.tensor([p for p, _ in rows]), torch.tensor([c for _, c in rows]), [])

    def generate(self, ids: Any, max_new_tokens: int) -> str:
        """Return what the model writes after ids [T], greedily, as text without special tokens."""
        ends = self.engine.checkpoint.end_tokens
        prompt = torch.as_tensor(ids).flatten().tolist()
        (output,) = self._ask([prompt], [SamplingParams(**PLAIN, max_tokens=max_new_tokens, stop_token_ids=ends)])
        return str(self.tokenizer.decode(list(output.outputs[0].token_ids), skip_special_tokens=True))

    def complete(self, requests: Sequence[Request]) -> Iterator[Completion]:
        """Yield what the model writes for each request, greedily, in order, as `Model.complete`."""
        for start in range(0, len(requests), TOGETHER):
            ends = self.engine.checkpoint.end_tokens
            writings = [Writing(request, self.tokenizer, ends) for request in requests[start : start + TOGETHER]]
            self._write(writings)
            yield from (writing.completion() for writing in writings)

    def _write(self, writings: Sequence[Writing]) -> None:
        """Let the model write until every writing has ended. vLLM stops early at times; then it is asked again."""
        taken: dict[int, list[int]] = {i: [] for i in range(len(writings))}
        while left := [i for i, writing in enumerate(writings) if not writing.ended]:
            for i in left:
                while writings[i].forced is not None and not writings[i].ended:
                    writings[i].take(-1)
                    taken[i].append(writings[i].last)
            prompts = [list(writings[i].request.ids) + taken[i] for i in left]
            parameters = [
                SamplingParams(
                    **{**PLAIN, "detokenize": bool(writings[i].request.stop)},
                    max_tokens=writings[i].most - len(taken[i]),
                    stop_token_ids=self.engine.checkpoint.end_tokens,
                    stop=list(writings[i].request.stop),
                    logprobs=0,
                )
                for i in left
            ]
            for i, output in zip(left, self._ask(prompts, parameters), strict=True):
                written = output.outputs[0]
                for token, given in zip(written.token_ids, written.logprobs, strict=True):
                    if given[token].logprob != given[token].logprob:  # NaN
                        writings[i].fail()
                    if writings[i].ended or writings[i].forced is not None:
                        break
                    writings[i].take(token)
                    taken[i].append(token)

    def _ask(self, prompts: Sequence[Sequence[int]], parameters: Sequence[SamplingParams]) -> list[Any]:
        """Return vLLM's output for each prompt, in order. UserError for a text that is too long for this engine."""
        for prompt, one in zip(prompts, parameters, strict=True):
            if len(prompt) + (one.max_tokens or 1) > self.engine.longest:
                raise UserError(
                    f"vLLM was started for {self.engine.longest} tokens; a text of {len(prompt)} and {one.max_tokens} "
                    "more do not fit"
                )
        given: list[Mapping[str, Any]] = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs: list[Any] = self.engine.llm.generate(given, list(parameters), use_tqdm=False)
        return outputs


PLAIN: dict[str, Any] = {"temperature": 0.0, "ignore_eos": True, "detokenize": False}
"""Greedy; only the tokens that we name end a text; we turn tokens into text."""


def _forced(tokens: list[int]) -> SamplingParams:
    return SamplingParams(**PLAIN, max_tokens=len(tokens), logprobs=1, extra_args={FORCED: tokens})


def _read(output: Any, parameters: SamplingParams) -> tuple[list[float], list[int]]:
    """Return the log-probabilities of the forced tokens, and what the model would have chosen at each."""
    forced: list[int] = (parameters.extra_args or {})[FORCED]
    written = output.outputs[0]
    if list(written.token_ids) != forced:
        raise RuntimeError(f"vLLM wrote {list(written.token_ids)}, not the tokens {forced} that were forced")
    steps = list(zip(written.logprobs, forced, strict=True))
    chosen = [max(given, key=lambda token: (given[token].logprob, -token)) for given, _ in steps]
    return [given[token].logprob for given, token in steps], chosen
