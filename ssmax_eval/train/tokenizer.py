"""The vocabulary of a family of trainings: byte-level BPE in which numbers and cities have few tokens."""

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ssmax_eval.errors import UserError
from ssmax_eval.tasks.prompts import CITIES, Wording

PAIRS = tuple(f"{space}{i:02}" for space in ("", "Ġ") for i in range(100))
"""Digits are split in pairs, each of which is one token, with a space before it or without."""


def make_tokenizer(texts: Sequence[str], wording: Wording, vocab_size: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE of at most `vocab_size` tokens, trained on the texts; the same texts give the same tokenizer.

    Pairs of digits, cities and the words of the needle and its question are whole tokens, whatever the texts say
    of them, so that they take nothing from the merges. No special tokens. UserError when the vocabulary has no room.
    """
    splits = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r" ?\d{1,2}"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    sentences = (wording.intro, wording.needle, wording.question, wording.answer_prefix)
    whole = dict.fromkeys(PAIRS)
    for city in CITIES:
        filled = (sentence.format(city=city, number="") for sentence in sentences)
        whole |= dict.fromkeys(piece for text in filled for piece, _ in splits.pre_tokenize_str(f" {text}\n{text}"))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    smallest = len(whole) + len(alphabet)
    if vocab_size <= smallest:
        raise UserError(f"vocab_size {vocab_size} is too small: bytes, cities and numbers alone take {smallest}")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = splits
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - len(whole), initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator((re.sub(r"\d+|" + "|".join(CITIES), "", text) for text in texts), trainer)
    trained: dict[str, Any] = json.loads(bpe.to_str())["model"]
    vocabulary: dict[str, int] = trained["vocab"]
    for token in whole:
        vocabulary.setdefault(token, len(vocabulary))
    merges = [(left, right) for left, right in trained["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.pre_tokenizer = splits
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)
