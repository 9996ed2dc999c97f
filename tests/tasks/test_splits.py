"""Tokens of several digits: a number that the model writes in other tokens than expected is still found."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.tasks.key_attention import KeyAttention
from ssmax_eval.tasks.niah import Niah
from ssmax_eval.tasks.prompts import Prompt, Wording
from ssmax_eval.train.tokenizer import make_tokenizer
from tests.conftest import tiny_config

WORDING = Wording("", "Special magic number: {city} {number}.", "", "Special magic number: {city}")
SHORT = str(Path(__file__).parents[1] / "data" / "emma.txt")
CELL = Cell(200, depth=0.5, trial=0)


def needles(kind: type = Niah, **changes: Any) -> Any:
    sentences = {"intro": "", "needle": WORDING.needle, "question": "", "answer_prefix": WORDING.answer_prefix}
    grid = {"lengths": (200,), "depths": (0.5,), "trials": 1, "texts": (SHORT,)}
    return kind(digits=4, chat_template=False, **sentences, **grid, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that chooses each token by the one before it, nearly; its tokens are pairs of digits, and single ones."""
    folder = tmp_path_factory.mktemp("pairs")
    tokenizer = make_tokenizer(["some words to be read, and some more"], WORDING, 900)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = tiny_config(vocab_size=len(tokenizer), hidden_size=256, eos_token_id=None, initializer_range=0.02)
    hf = LlamaForCausalLM(config)
    torch.nn.init.normal_(hf.model.embed_tokens.weight)
    for layer in hf.model.layers:
        for part in (layer.self_attn.o_proj, layer.mlp.down_proj):
            part.weight.data *= 1e-2
    hf.save_pretrained(folder)
    return folder


def asked(model: ssmax_eval.Model) -> Prompt:
    prompt = needles().haystack(model.tokenizer)[0].prompt(CELL)
    assert isinstance(prompt, Prompt)
    number, tokens = prompt.number, model.tokenizer.convert_ids_to_tokens(prompt.ids[prompt.answer_start :])
    assert len(set(number)) == 4
    assert tokens == [f"Ġ{number[:2]}", number[2:]]
    return prompt


def measured(folder: Path, write: Any, kind: type = Niah, **changes: Any) -> tuple[Measurement, int]:
    """What a model is given for an answer, whose tokens `write` makes of the number; and how often it decoded."""
    model = ssmax_eval.load(str(folder), "softmax")
    prompt = asked(model)
    tokens = [prompt.ids[prompt.answer_start - 1], *model.tokenizer.convert_tokens_to_ids(write(prompt.number))]
    head = model.hf.lm_head.weight.data.zero_()
    for before, after in pairwise(tokens):
        head[after] += model.hf.model.embed_tokens.weight.data[before]
    decoded = 0
    generate = model.generate

    def counting(*arguments: Any) -> str:
        nonlocal decoded
        decoded += 1
        return generate(*arguments)

    model.generate = counting  # type: ignore[assignment]
    (found,) = needles(kind, **changes).bind(model)([CELL])
    return found, decoded


SPLITS = {
    "as expected": (lambda n: [f"Ġ{n[:2]}", n[2:]], 1.0, 1.0, 0),
    "one digit a token": (lambda n: ["Ġ", *n], 1.0, 1.0, 1),
    "a pair inside": (lambda n: ["Ġ", n[0], n[1:3], n[3]], 1.0, 1.0, 1),
    "other after a pair": (lambda n: [f"Ġ{n[:2]}", n[2], n[3]], 1.0, 1.0, 1),
    "another split, then wrong": (lambda n: ["Ġ", n[0], n[1:3], n[0]], 0.0, 0.75, 1),
    "wrong at once": (lambda n: [f"Ġ{n[1]}{n[0]}", n[2:]], 0.0, 0.0, 0),
    "wrong after a pair": (lambda n: [f"Ġ{n[:2]}", n[1] + n[0]], 0.0, 0.5, 0),
}


@pytest.mark.parametrize("split", SPLITS)
def test_another_split_counts_as_generate_counts_it(folder: Path, split: str) -> None:
    write, score, leading, times = SPLITS[split]
    forced, decoded = measured(folder, write)
    assert (forced.values["score"], forced.values["leading_digits"], decoded) == (score, leading, times)
    free, _ = measured(folder, write, scoring="generate", max_new_tokens=6)
    assert free.values["score"] == score
    assert free.values["logprob"] == forced.values["logprob"]
    if score:
        assert str(free.values["answer"]).strip().startswith(str(forced.values["answer"])[:4])


def test_attention_is_judged_by_the_same_score(folder: Path) -> None:
    found, decoded = measured(folder, lambda n: ["Ġ", *n], KeyAttention)
    assert (found.values["score"], decoded) == (1.0, 1)
    assert found.rows["needle_score"]


def test_generate_is_greedy_whatever_the_checkpoint_says(tiny_folder: Path) -> None:
    """A repetition penalty would forbid the very number that is asked for."""
    model = ssmax_eval.load(str(tiny_folder), "softmax")
    ids = list(range(5, 60))
    before = model.generate(ids, 12)
    model.hf.generation_config.repetition_penalty = 50.0
    model.hf.generation_config.no_repeat_ngram_size = 1
    own = model.hf.generation_config
    assert model.generate(ids, 12) == before
    assert model.hf.generation_config is own
    own.eos_token_id = int(model.answer([*ids, 5], 1).chosen[0, -1])
    assert model.generate(ids, 12) != before


def test_what_ends_an_answer_is_in_the_identity_of_decoding_alone(tiny_folder: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    assert needles(scoring="generate").of_checkpoint(checkpoint) == {"end_tokens": [2]}
    assert needles().of_checkpoint(checkpoint) == needles(KeyAttention).of_checkpoint(checkpoint) == {}
