"""The very tokens that are trained on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ssmax_eval.corpus import Text
from ssmax_eval.errors import UserError
from ssmax_eval.tasks.prompts import CITIES, Haystack
from ssmax_eval.train import Recipe
from ssmax_eval.train.data import ANSWER, FREE, REST, TEXT, Data, training_texts
from ssmax_eval.train.tokenizer import PAIRS, make_tokenizer


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
    for whole in (*PAIRS, *(f" {city}" for city in CITIES)):
        assert len(tokenizer(whole)["input_ids"]) == 1
    assert tokenizer.convert_ids_to_tokens(tokenizer("is 1234567")["input_ids"])[1:] == ["Ġ", "12", "34", "56", "7"]


@pytest.mark.parametrize("changes", [{}, {"digits": 7}, {"intro": "Remember the number."}, {"edge": 1.0, "needles": 1}])
def test_needle_sequences_are_what_the_tokenizer_makes_of_their_text(
    recipe: Recipe, data: Data, changes: dict[str, object]
) -> None:
    changed = Data(replace(recipe, **changes), data.tokenizer, training_texts(recipe))
    rows = [changed[i]["input_ids"][j].tolist() for i in range(20) for j in (2, 3)]
    for row in rows:
        assert len(row) == recipe.train_length
        assert data.tokenizer(data.tokenizer.decode(row))["input_ids"] == row


def test_a_needle_sequence_is_the_plain_prompt_of_a_needle_task(recipe: Recipe, data: Data) -> None:
    haystack = Haystack(data.tokenizer, "Some filler. More of it.", recipe.wording, chat=False, digits=4, seed=0)
    for i in range(10):
        batch = data[i]
        for ids, kinds in zip(batch["input_ids"][2:4], batch["kinds"][2:4], strict=True):
            text, number = data.tokenizer.decode(ids), data.tokenizer.decode(ids[kinds == ANSWER])
            (city,) = [city for city in CITIES if f"number for {city}?" in text]
            head, tail = haystack._frame(city)
            assert text.startswith(head)
            assert text.endswith(f"{tail} {number}")
            assert recipe.needle.format(city=city, number=number) in text
            assert text.count("The special magic number for") == recipe.needles + 1


def test_a_batch_has_what_the_recipe_says(recipe: Recipe, data: Data) -> None:
    batch = data[5]
    ids, kinds = batch["input_ids"], batch["kinds"]
    assert ids.shape == kinds.shape == (recipe.sequences, recipe.train_length)
    assert kinds[:2].unique().tolist() == [TEXT]
    assert set(kinds[2:4].unique().tolist()) == {ANSWER, REST}
    block = int((kinds[4] == FREE).sum())
    assert torch.equal(ids[4, block:], ids[4, : recipe.train_length - block])
    joined = " ".join(map(str, data.tokens.tolist()))
    assert " ".join(map(str, ids[0].tolist())) in joined


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
    with pytest.raises(UserError, match=r"held_out names 'thre'.*: hidden, one, two"):
        training_texts(replace(recipe, held_out=("hidden", "thre")))
    with pytest.raises(UserError, match="every text is held out"):
        training_texts(replace(recipe, held_out=("hidden", "one", "two")))


def test_what_cannot_be_is_said(recipe: Recipe, data: Data) -> None:
    with pytest.raises(UserError, match="too small: bytes, cities and numbers"):
        make_tokenizer(["text"], recipe.wording, 300)
    with pytest.raises(UserError, match="too few for sequences of 96"):
        Data(recipe, data.tokenizer, [Text("short", "Only this.")])
    with pytest.raises(UserError, match="no window of"):
        _ = Data(replace(recipe, needles=30), data.tokenizer, training_texts(recipe))[0]
