"""Texts in parts have the tokens of whole texts, and texts of a length are exactly that long."""

from itertools import pairwise
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ssmax_eval.corpus import filler, read_texts
from ssmax_eval.errors import UserError
from ssmax_eval.tasks.fitting import Fitter
from ssmax_eval.tasks.frame import Frame
from tests.conftest import make_tokenizer

TEXT = filler(read_texts())[:60_000]


def sentencepiece(spaces: bool) -> PreTrainedTokenizerFast:
    """BPE with "▁" for a space, as Llama 2 has it; with `spaces`, tokens may hold several words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Prepend("▁")
    tokenizer.pre_tokenizer = (
        pre_tokenizers.Split("\n", "isolated") if spaces else pre_tokenizers.Metaspace(prepend_scheme="never")
    )
    if spaces:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<s>"], show_progress=False)
    tokenizer.train_from_iterator([TEXT[:20_000]], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


@pytest.mark.parametrize("chat", [True, False])
def test_parts_give_the_tokens_of_the_whole(chat: bool) -> None:
    frame = Frame(make_tokenizer(), chat=chat)
    text = frame.text(TEXT, "So")
    ids = frame.ids(text)
    assert len(ids) > 16_384
    assert not frame._whole_only
    for cut in (40_000, 50_000):
        other = frame.text(TEXT[:cut] + " Zyx word, 17 more." + TEXT[cut:], "So")
        assert frame.ids(other) == frame._whole(other)
    assert not frame._whole_only


def test_a_beginning_that_the_tokenizer_adds_is_there_once() -> None:
    frame = Frame(sentencepiece(False), chat=False)
    text = "The first words of a text, and then more of them."
    assert frame.ids(text) == frame._whole(text)
    assert not frame._whole_only


def test_tokens_across_words_are_found_out() -> None:
    tokenizer = sentencepiece(True)
    assert any("▁" in token.strip("▁") for token in tokenizer.get_vocab())
    frame = Frame(tokenizer, chat=False)
    for text in (TEXT[:9_000], TEXT[9_000:18_000]):
        assert frame.ids(text) == frame._whole(text)
    assert frame._whole_only


def test_the_chat_template_stands_around_and_the_prefix_after() -> None:
    frame = Frame(make_tokenizer(), chat=True)
    assert frame.text("Hello?", "It is") == "<|user|>Hello?<|end|><|assistant|>It is"
    assert Frame(make_tokenizer(chat=False), chat=False).text("Hello?", "It is") == "Hello?\nIt is"


def _build(frame: Frame) -> Any:
    def build(units: int, padding: str) -> str:
        lines = [f"Line {i} says nothing." for i in range(units)] + [padding] * bool(padding)
        return frame.text("\n".join(["Read this.", *lines, "What did it say?"]), "It said")

    return build


@pytest.mark.parametrize("chat", [True, False])
def test_every_length_is_exact(chat: bool) -> None:
    frame = Frame(make_tokenizer(), chat=chat)
    fitter, build = Fitter(frame), _build(frame)
    units = []
    for length in [*range(120, 180), 500, 1024, 4096]:
        found = fitter.fit(build, length)
        assert len(found.ids) == length
        assert found.ids == frame._whole(found.text)
        units.append(found.units)
    assert all(b - a >= 0 for a, b in pairwise(units[-3:]))
    assert units[-1] > 100


def test_the_smallest_length_is_named_and_works() -> None:
    frame = Frame(make_tokenizer(), chat=True)
    fitter, build = Fitter(frame), _build(frame)
    with pytest.raises(UserError, match=r"context length 40 is too short: the question and the answer need \d+") as no:
        fitter.fit(build, 10, least=3, budget=30)
    smallest = int(str(no.value).split("need ")[1].split()[0])
    assert len(fitter.fit(build, smallest - 30, least=3, budget=30).ids) == smallest - 30
    with pytest.raises(UserError, match="too short"):
        fitter.fit(build, smallest - 31, least=3, budget=30)


def test_too_little_text_is_said() -> None:
    frame = Frame(make_tokenizer(), chat=False)
    with pytest.raises(UserError, match="too little text for 5000 tokens"):
        Fitter(frame).fit(_build(frame), 5000, most=20)
    assert len(Fitter(frame).fit(_build(frame), 200, most=500).ids) == 200
