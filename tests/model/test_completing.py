"""Requests that decode together, against transformers' `generate` on one prompt after the other, in float64."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

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
from ssmax_eval.errors import UserError
from ssmax_eval.model import Completion, Model, Request, decoding
from tests import tiny
from tests.conftest import make_tokenizer, tiny_config

TOKENIZER = make_tokenizer()
SMALL = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "initializer_range": 0.3,
}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
NEW = 9
"""Tokens of an answer."""


def gpt2() -> PreTrainedModel:
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(vocab_size=600, n_positions=96, n_embd=32, n_layer=2, n_head=4, **ends))


def of_kind(kind: str) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(tiny.config(kind, vocab_size=600))


MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaForCausalLM(tiny_config()),
    "gpt2": gpt2,
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, **HEADS, sliding_window=8)),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, **HEADS, sliding_window=8)),
    "dynamic": lambda: LlamaForCausalLM(
        tiny_config(
            rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}, max_position_embeddings=32
        )
    ),
    "mamba": lambda: of_kind("mamba"),
    "bloom": lambda: of_kind("bloom"),
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
    """Tokens that transformers writes after one prompt."""
    ids = torch.tensor([list(prompt)])
    written = model.hf.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False, pad_token_id=0
    )
    tokens: list[int] = written[0, len(prompt) :].tolist()
    return tokens


def expected(model: Model, prompt: Sequence[int], most: int = NEW) -> Completion:
    tokens = alone(model, prompt, most)
    own = model.hf.generation_config.eos_token_id
    ends = own if isinstance(own, list) else [own]
    ended = "end" if tokens[-1] in ends else "budget"
    tokens = tokens[:-1] if ended == "end" else tokens
    return Completion(TOKENIZER.decode(tokens, skip_special_tokens=True), len(tokens), ended)


def end_some(model: Model, asked: Sequence[Sequence[int]]) -> None:
    """Make some answers end early, each at another place, by tokens that the model writes there."""
    model.hf.generation_config.eos_token_id = None
    written = [alone(model, prompt) for prompt in asked]
    model.hf.generation_config.eos_token_id = [written[0][0], written[1][4], written[2][7]]


CASES = [
    *(
        ("llama", attention)
        for attention in ("softmax", "ssmax:s=0.4", "lssar:p=3", "lssa", "softmax_reweighted", "none")
    ),
    *(
        (name, attention)
        for name in ("gpt2", "mistral", "gemma3", "dynamic")
        for attention in ("softmax", "ssmax:s=0.4")
    ),
    ("mistral", "lssar:p=3"),
    ("mamba", "none"),
    ("bloom", "none"),
]


@pytest.mark.parametrize("lengths", [(50,) * 5, (50, 41, 50, 28, 30)])
@pytest.mark.parametrize(("name", "attention"), CASES)
def test_what_is_written_is_what_generate_writes(name: str, attention: str, lengths: tuple[int, ...]) -> None:
    with made(name, attention) as model:
        asked = prompts(*lengths, shared=20)
        end_some(model, asked)
        found = list(model.complete([Request(prompt, NEW) for prompt in asked]))
        assert found == [expected(model, prompt) for prompt in asked]
        assert {one.ended for one in found} == {"end", "budget"}
        assert len({one.tokens for one in found}) > 2
