"""The very tokens that are trained on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssmax_eval.corpus import Text
from ssmax_eval.errors import UserError
from ssmax_eval.tasks.prompts import CITIES, Haystack
from ssmax_eval.train import Recipe
from ssmax_eval.train.data import ANSWER, FREE, LOOKUP, REST, TEXT, Data, training_texts
from ssmax_eval.train.tokenizer import PAIRS, make_tokenizer

SPOKEN = {
    "needle": "The special magic number for {city} is {number}, they say.",
    "question": "What is the special magic number for {city}?",
    "answer_prefix": "The special magic number for {city} is",
    "needles": 1,
    "questions": 1,
}
"""The wording of the shipped needle task."""


def made(recipe: Recipe) -> Data:
    texts = training_texts(recipe)
    tokenizer = make_tokenizer([text.content for text in texts], recipe.wording, recipe.vocab_size)
    return Data(recipe, tokenizer, texts)


@pytest.fixture(scope="module")
def data(recipe: Recipe) -> Data:
    return made(recipe)


def test_the_tokenizer_gives_every_text_back_and_is_the_same_each_time(recipe: Recipe, data: Data) -> None:
    tokenizer = data.tokenizer
    for text in (" a  b\n\n\tc 1234567 Zürich's 日本 \u200b", "The special magic number for London is 0421.", " 12 3"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert made(recipe).digest == data.digest
    assert len(tokenizer) <= recipe.vocab_size
    for whole in (*(pair.replace("Ġ", " ") for pair in PAIRS), *(f" {city}" for city in CITIES)):
        assert len(tokenizer(whole)["input_ids"]) == 1
    assert tokenizer.convert_ids_to_tokens(tokenizer("is 1234567")["input_ids"])[1:] == ["Ġ12", "34", "56", "7"]


@pytest.mark.parametrize(
    "changes", [{}, {"digits": 7}, {"digits": 1}, {"intro": "Remember it."}, {"edge": 1.0}, SPOKEN]
)
def test_needle_sequences_are_what_the_tokenizer_makes_of_their_text(
    recipe: Recipe, data: Data, changes: dict[str, Any]
) -> None:
    changed = Data(replace(recipe, **changes), data.tokenizer, training_texts(recipe))
    rows = [changed[i]["input_ids"][j].tolist() for i in range(20) for j in (2, 3)]
    for row in rows:
        assert len(row) == recipe.train_length
        assert data.tokenizer(data.tokenizer.decode(row))["input_ids"] == row


@pytest.mark.parametrize("changes", [{}, SPOKEN, {**SPOKEN, "intro": "Remember it."}], ids=["plain", "spoken", "intro"])
def test_a_needle_sequence_is_the_plain_prompt_of_a_needle_task(
    recipe: Recipe, data: Data, changes: dict[str, Any]
) -> None:
    recipe = replace(recipe, **{**changes, "questions": 1})
    changed = Data(recipe, data.tokenizer, training_texts(recipe))
    haystack = Haystack(data.tokenizer, "Some filler. More of it.", recipe.wording, chat=False, digits=4, seed=0)
    for i in range(10):
        batch = changed[i]
        for ids, kinds in zip(batch["input_ids"][2:4], batch["kinds"][2:4], strict=True):
            text, number = data.tokenizer.decode(ids), data.tokenizer.decode(ids[kinds == ANSWER])
            prompts = {city: haystack._frame(city) for city in CITIES}
            (city,) = [city for city, (_, tail) in prompts.items() if text.endswith(tail + number)]
            head = prompts[city][0]
            assert text.startswith(head)
            assert not text[len(head) :].startswith("\n")
            assert recipe.needle.format(city=city, number=number.strip()) in text
            assert text.count(recipe.needle.partition("{")[0]) <= recipe.needles + 2


def test_a_batch_has_what_the_recipe_says(recipe: Recipe, data: Data) -> None:
    batch = data[5]
    ids, kinds = batch["input_ids"], batch["kinds"]
    assert ids.shape == kinds.shape == (recipe.sequences, recipe.train_length)
    assert kinds[:2].unique().tolist() == [TEXT]
    assert set(kinds[2:4].unique().tolist()) == {ANSWER, REST}
    block = int((kinds[5] == FREE).sum())
    assert torch.equal(ids[5, block:], ids[5, : recipe.train_length - block])
    joined = " ".join(map(str, data.tokens.tolist()))
    assert " ".join(map(str, ids[0].tolist())) in joined


def test_a_table_repeats_what_it_said(data: Data) -> None:
    for i in range(10):
        ids, kinds = (data[i][name][4] for name in ("input_ids", "kinds"))
        text = data.tokenizer.decode(ids)
        assert data.tokenizer(text)["input_ids"] == ids.tolist()
        entries = [entry.split() for entry in text.split(".") if len(entry.split()) == 2][:-1]
        numbers = dict(entries)
        assert all(numbers[city] == number for city, number in entries)
        assert len(numbers) > 1
        cities = [city for city, _ in entries]
        wanted = "".join(number for i, (city, number) in enumerate(entries) if city in cities[:i])
        assert data.tokenizer.decode(ids[kinds == LOOKUP]).replace(" ", "").startswith(wanted)


def test_a_batch_depends_on_seed_and_step_alone(recipe: Recipe, data: Data) -> None:
    later = Data(replace(recipe, start_step=7), data.tokenizer, training_texts(recipe))
    assert torch.equal(later[2]["input_ids"], data[9]["input_ids"])
    assert len(later) == recipe.steps - 7
    other = Data(replace(recipe, seed=1), data.tokenizer, training_texts(recipe))
    assert not torch.equal(other[9]["input_ids"], data[9]["input_ids"])


def test_held_out_texts_are_not_even_read(recipe: Recipe, texts: Path) -> None:
    assert [text.name for text in training_texts(recipe)] == ["one", "two"]
    with pytest.raises(UserError, match="UTF-8"):
        training_texts(replace(recipe, held_out=()))
    with pytest.raises(UserError, match=r"held_out must name texts; got 'thre'; the texts: hidden, one, two"):
        training_texts(replace(recipe, held_out=("hidden", "thre")))
    with pytest.raises(UserError, match="every text is held out"):
        training_texts(replace(recipe, held_out=("hidden", "one", "two")))


def test_what_cannot_be_is_said(recipe: Recipe, data: Data) -> None:
    with pytest.raises(UserError, match="too small: bytes, cities and numbers"):
        make_tokenizer(["text"], recipe.wording, 300)
    with pytest.raises(UserError, match="too few for sequences of 96"):
        Data(recipe, data.tokenizer, [Text("short", "Only this.")])
    with pytest.raises(UserError, match="no window of"):
        Data(replace(recipe, needles=30), data.tokenizer, training_texts(recipe))
