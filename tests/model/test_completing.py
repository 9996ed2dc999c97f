"""Requests that decode together, against transformers' `generate` on one prompt after the other, in float64."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, product, takewhile
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

import ssmax_eval
from ssmax_eval.checkpoint.rope import forget_lengths
from ssmax_eval.errors import UserError
from ssmax_eval.model import Completion, Model, Request, decoding
from tests import tiny
from tests.conftest import HEADS, SMALL, make_tokenizer, tiny_config

TOKENIZER = make_tokenizer()
NEW = 9
"""Tokens of an answer."""


def gpt2() -> PreTrainedModel:
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=600, n_positions=96, n_embd=32, n_layer=2, n_head=4, **ends))


def of_kind(kind: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(tiny.config(kind, vocab_size=600, tie_word_embeddings=False))


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(tiny_config()),
    "gpt2": gpt2,
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, **HEADS, head_dim=8, sliding_window=8)),
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(**SMALL, **HEADS, head_dim=8, sliding_window=8, tie_word_embeddings=False)
    ),
    "dynamic": lambda: LlamaForCausalLM(
        tiny_config(
            rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}, max_position_embeddings=32
        )
    ),
    "mamba": lambda: of_kind("mamba"),
    "bloom": lambda: of_kind("bloom"),
    "camembert": lambda: of_kind("camembert"),
}


@contextmanager
def made(name: str, attention: str) -> Iterator[Model]:
    torch.manual_seed(0)
    hf = MODELS[name]().double().eval()
    for weight in hf.parameters():
        if weight.ndim == 2:
            torch.nn.init.normal_(weight.data, std=0.3)
    if attention == "none":
        yield Model(hf, TOKENIZER)
        return
    with ssmax_eval.rewritten(hf, attention) as rewriting:
        yield Model(hf, TOKENIZER, rewriting)


def prompts(*lengths: int, shared: int = 0) -> list[list[int]]:
    """Random prompts; the first tokens are the same for all."""
    generator = torch.Generator().manual_seed(3)
    start = torch.randint(4, 600, (shared,), generator=generator).tolist()
    return [[*start, *torch.randint(4, 600, (n - shared,), generator=generator).tolist()] for n in lengths]


def alone(model: Model, prompt: Sequence[int], most: int = NEW) -> list[int]:
    """Tokens that transformers writes after one prompt, whatever would end the text."""
    forget_lengths(model.hf)
    ids = torch.tensor([list(prompt)])
    model.hf.generation_config.eos_token_id = None
    written = model.hf.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=0
    )
    tokens: list[int] = written[0, len(prompt) :].tolist()
    return tokens


def until(end: int, written: Sequence[int]) -> Completion:
    """What is left of these tokens where one of them ends a text."""
    tokens = list(takewhile(lambda token: token != end, written))
    ended = "end" if len(tokens) < len(written) else "budget"
    return Completion(TOKENIZER.decode(tokens, skip_special_tokens=True), len(tokens), ended)


CASES = [
    *(("llama", attention) for attention in ("softmax", "ssmax:s=0.4", "lssar:p=3", "softmax_reweighted", "none")),
    *((name, "ssmax:s=0.4") for name in ("gpt2", "mistral", "gemma3", "dynamic")),
    ("mistral", "lssar:p=3"),
    ("mamba", "none"),
    ("bloom", "none"),
]


@pytest.mark.parametrize(("name", "attention"), CASES)
def test_what_is_written_is_what_generate_writes(name: str, attention: str) -> None:
    with made(name, attention) as model:
        asked = prompts(30, 30, 30, 17, 23, shared=12)
        written = [alone(model, prompt) for prompt in asked]
        # a token that ends the answers at as many places as can be
        unsaid = [token for token in sorted({*chain(*written)}) if any(token not in one for one in written)]
        end = max(unsaid, key=lambda token: len({until(token, one).tokens for one in written}))
        model.hf.generation_config.eos_token_id = [end]
        wanted = [until(end, one) for one in written]
        assert {one.ended for one in wanted} == {"end", "budget"}
        requests = [Request(prompt, NEW) for prompt in asked]
        assert list(model.complete(requests[:3])) == wanted[:3]
        assert list(model.complete(requests)) == wanted


def test_requests_of_one_call_decode_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of every pass: a prompt each, without what it shares with the one before, then a token for each request."""
    with made("llama", "ssmax:s=0.4") as model:
        model.hf.generation_config.eos_token_id = None
        asked = [Request(prompt, most) for prompt, most in zip(prompts(30, 30, 40, shared=20), (4, 2, 3), strict=True)]
        assert model.paddable
        ran = passes(model, monkeypatch)
        every = list(model.complete(asked))
        assert ran == [(1, 30), (1, 10), (1, 20), (3, 1), (2, 1), (1, 1)]
        assert [one.tokens for one in every] == [4, 2, 3]
        ran.clear()
        model.prefill_chunk = 16
        assert list(model.complete(asked)) == every
        assert ran[:3] == [(1, 16), (1, 14), (1, 10)]
        model.prefill_chunk = None
        ran.clear()
        monkeypatch.setattr(decoding, "available", lambda _: 0)
        assert list(model.complete(asked)) == every
        assert ran == [(1, 30), *[(1, 1)] * 3, (1, 10), (1, 1), (1, 20), *[(1, 1)] * 2]


def test_a_much_shorter_prompt_waits_for_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    with made("llama", "softmax") as model:
        model.hf.generation_config.eos_token_id = None
        assert model.paddable
        ran = passes(model, monkeypatch)
        list(model.complete([Request(prompt, 3) for prompt in prompts(40, 20, 19)]))
        assert ran == [(1, 40), (1, 20), (2, 1), (2, 1), (1, 19), (1, 1), (1, 1)]


def passes(model: Model, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shape of the tokens of every pass from now on."""
    ran: list[tuple[int, ...]] = []
    forward = model.body.forward

    def counting(*arguments: Any, input_ids: Tensor, position_ids: Tensor | None = None, **others: Any) -> Any:
        ran.append(tuple(input_ids.shape))
        return forward(*arguments, input_ids=input_ids, position_ids=position_ids, **others)

    monkeypatch.setattr(model.body, "forward", counting)
    return ran


BOTH = pytest.mark.parametrize("attention", ["ssmax:s=0.4", "none"])  # one cache, and transformers' generate


@BOTH
def test_a_stop_string_ends_an_answer_across_tokens(attention: str) -> None:
    with made("llama", attention) as model:
        asked = prompts(30, 30, 26)
        written = [alone(model, prompt) for prompt in asked]
        texts = [[TOKENIZER.decode(tokens[:count]) for count in range(NEW + 1)] for tokens in written]
        pieces = [TOKENIZER.decode([token]) for token in chain(*written)]
        row, count, stop = next(
            (row, count, stop)
            for row, count, size in product(range(3), range(2, NEW), (2, 3, 4))
            if "\ufffd" not in (stop := texts[row][count][-size:])
            and not any(stop in text for text in (*pieces, texts[row][count - 1]))
        )
        found = list(model.complete([Request(prompt, NEW, ("never written", stop)) for prompt in asked]))
        assert found[row] == Completion(texts[row][count].partition(stop)[0], count, "stop")
        assert sum(one == until(-1, tokens) for one, tokens in zip(found, written, strict=True)) == 2


@BOTH
def test_a_thought_has_a_budget_of_its_own(attention: str) -> None:
    """A thought that is cut goes on as if the model had ended it; one that it ends by itself goes on as it is."""
    with made("llama", attention) as model:
        asked = prompts(30, 30, 30, shared=20)
        thoughts = [alone(model, prompt, 6) for prompt in asked]
        end = TOKENIZER.decode(thoughts[1][2:4])
        close = TOKENIZER(end)["input_ids"]
        then = [[*thoughts[0], *close], thoughts[1][:4], [*thoughts[2], *close]]
        answers = [alone(model, [*prompt, *more], 4) for prompt, more in zip(asked, then, strict=True)]
        found = list(model.complete([Request(prompt, 4, thinking=6, thinking_end=end) for prompt in asked]))
        assert [one.text for one in found] == [TOKENIZER.decode(answer) for answer in answers]
        assert [one.thought for one in found] == [TOKENIZER.decode(thoughts[i][: (6, 2, 6)[i]]) for i in range(3)]
        assert [one.thought_tokens for one in found] == [6, 4, 6]
        assert [one.thought_cut for one in found] == [True, False, True]
        assert {(one.tokens, one.ended) for one in found} == {(4, "budget")}


@BOTH
def test_an_end_token_inside_a_thought_ends_it_all(attention: str) -> None:
    with made("llama", attention) as model:
        (prompt,) = prompts(30)
        written = alone(model, prompt)
        model.hf.generation_config.eos_token_id = written[3]
        (found,) = model.complete([Request(prompt, 5, thinking=NEW)])
        assert found == Completion("", 0, "end", TOKENIZER.decode(written[:3]), 3, thought_cut=False)


def test_positions_that_do_not_begin_at_0_are_those_of_the_models_own_pass() -> None:
    """transformers' generate counts them from 0 for such a model, which its forward pass does not."""
    with made("camembert", "ssmax:s=0.4") as model:
        model.hf.generation_config.eos_token_id = None
        assert model.resumable
        assert not model.paddable  # positions that are given would be others
        asked = prompts(30, 30, 23)
        for prompt, found in zip(asked, model.complete([Request(prompt, 4) for prompt in asked]), strict=True):
            ids = list(prompt)
            while len(ids) < len(prompt) + 4:
                ids.append(int(model.answer([*ids, 5], 1).chosen[0, -1]))
            assert found.text == TOKENIZER.decode(ids[len(prompt) :], skip_special_tokens=True)


@BOTH
def test_nan_is_a_failure_and_no_answer(attention: str) -> None:
    """Where logits are NaN after some token, the answers before that request are told, and then the failure."""
    with made("llama", attention) as model:
        asked = prompts(30, 30)
        written = [alone(model, prompt) for prompt in asked]
        broken = next(token for token in written[1] if token not in written[0])
        requests = [Request(prompt, NEW) for prompt in asked]
        assert model.resumable == (attention != "none")  # before the weights are broken
        assert broken not in chain(*asked)
        model.hf.get_input_embeddings().weight.data[broken] = torch.nan
        found = model.complete(requests)
        assert next(found) == until(-1, written[0])
        with pytest.raises(UserError, match="NaN"):
            next(found)
