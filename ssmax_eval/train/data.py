"""The training data: token sequences that depend on the recipe, the texts, the seed and the step, and on nothing else.

So a training that goes on after a kill sees what it would have seen, and so do two attentions trained from one seed.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from ssmax_eval.corpus import Text, read_texts
from ssmax_eval.errors import UserError
from ssmax_eval.files import expanded
from ssmax_eval.tasks.prompts import CITIES
from ssmax_eval.train.recipe import Recipe
from ssmax_eval.train.tokenizer import PAIRS

TEXT, ANSWER, LOOKUP, REST, FREE = range(5)
"""What a token is: plain text; a digit of an answer; a digit of a table that was there before; anything else;
random, which nobody can predict."""

Ids = NDArray[np.int64]
TRIES = 1000
FEW = 100
"""Sentences below which a haystack after a needle may begin at any word: texts that put two spaces after a period."""


def training_texts(recipe: Recipe) -> list[Text]:
    """Read the texts of a recipe, without those held out. UserError for a held-out name that no text has."""
    files = {str(file): file.stem for given in recipe.texts for file in _files(given)}
    names = set(files.values()) if files else {text.name for text in read_texts()}
    out = set(recipe.held_out)
    if strange := sorted(out - names):
        raise UserError(f"held_out names {strange[0]!r}, which is not among the texts: {', '.join(sorted(names)[:20])}")
    if names <= out:
        raise UserError(f"every text is held out: {', '.join(sorted(names))}")
    if files:
        return read_texts([file for file, name in files.items() if name not in out])
    return [text for text in read_texts() if text.name not in out]


def _files(given: str) -> list[Path]:
    path = expanded(given)
    if not path.is_dir():
        return [path]
    if files := sorted(p for p in path.rglob("*") if p.suffix in (".txt", ".jsonl")):
        return files
    raise UserError(f"no *.txt or *.jsonl in {given!r}")


class Data(Dataset[dict[str, Tensor]]):
    """Item i is the batch of step `start_step` + i: `input_ids` int64 and `kinds` uint8, both [sequences, length]."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerFast, texts: Sequence[Text]) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        if not set(PAIRS) <= set(tokenizer.get_vocab()):
            raise UserError("this tokenizer has no tokens for pairs of digits; go on from a checkpoint trained here")
        joined = "\n\n".join(["", *(text.content.strip() for text in texts)])
        self.tokens: Ids = np.array(self._encode(joined))
        if len(self.tokens) < 4 * recipe.train_length:
            raise UserError(f"the texts have {len(self.tokens)} tokens, too few for sequences of {recipe.train_length}")
        names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        begins = np.array([len(name) > 1 and name[0] == "Ġ" and name[1] not in "ĠĊĉč" for name in names])
        ends = np.array([name.rstrip("\"')]")[-1:] in (".", "!", "?") for name in names])
        newline = self.tokens == tokenizer.convert_tokens_to_ids("Ċ")
        self.words: NDArray[np.bool_] = begins[self.tokens]
        """Where a word and the space before it begin: a sentence put there leaves the tokens around it as they are."""
        blank = np.array([not name.strip("ĠĊĉč") for name in names])
        self.stops = self.words & ~np.append(True, blank[self.tokens[:-1]])
        """Those where a text may end and a line's end follow."""
        sentences = np.flatnonzero(self.words[1:] & ends[self.tokens[:-1]]) + 1
        paragraphs = np.flatnonzero(newline[:-2] & newline[1:-1] & ~newline[2:])
        if len(sentences) < FEW:
            sentences = np.flatnonzero(self.words)
        self.starts = {True: sentences, False: paragraphs if recipe.intro else paragraphs + 2}
        """Where a haystack may begin: with a needle before it, and without (after an intro, with an empty line)."""
        self.needles, self.questions = zip(*map(self._sentences, CITIES), strict=True)
        self.cities = [self._encode(f" {city}") for city in CITIES]
        self.between = self._encode("\n\n" + recipe.needle)[:2]
        self.head = self._encode(recipe.intro) if recipe.intro else []
        if recipe.needle_sequences:
            for i in range(20):  # raises for what does not fit, before anything is trained
                self.hidden(np.random.default_rng(i))

    def __len__(self) -> int:
        return self.recipe.steps - self.recipe.start_step

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        recipe = self.recipe
        draw = np.random.default_rng((recipe.seed, recipe.start_step + i))
        rows = [self.text(draw) for _ in range(recipe.text_sequences)]
        rows += [self.hidden(draw) for _ in range(recipe.needle_sequences)]
        rows += [self.table(draw) for _ in range(recipe.table_sequences)]
        rows += [self.repeated(draw) for _ in range(recipe.repeat_sequences)]
        ids, kinds = (np.stack(part) for part in zip(*rows, strict=True))
        return {"input_ids": torch.from_numpy(ids), "kinds": torch.from_numpy(kinds)}

    @property
    def digest(self) -> str:
        """A digest of the tokens and of the tokenizer that made them."""
        vocabulary = self.tokenizer.backend_tokenizer.to_str().encode()
        return hashlib.sha256(vocabulary + self.tokens.astype("<i8").tobytes()).hexdigest()[:16]

    def text(self, draw: np.random.Generator) -> tuple[Ids, NDArray[np.uint8]]:
        """Return a window of the texts."""
        length = self.recipe.train_length
        start = draw.integers(len(self.tokens) - length)
        return self.tokens[start : start + length], np.full(length, TEXT, np.uint8)

    def repeated(self, draw: np.random.Generator) -> tuple[Ids, NDArray[np.uint8]]:
        """Return a block of random tokens, repeated."""
        length = self.recipe.train_length
        block = draw.integers(len(self.tokenizer), size=draw.integers(min(16, length // 2), length // 2 + 1))
        kinds = np.full(length, REST, np.uint8)
        kinds[: len(block)] = FREE
        return np.resize(block, length), kinds

    def table(self, draw: np.random.Generator) -> tuple[Ids, NDArray[np.uint8]]:
        """Return cities with their numbers, repeated in any order: every repetition can be looked up."""
        length = self.recipe.train_length
        cities = draw.choice(len(CITIES), draw.integers(3, 14), replace=False)
        numbers = [self._number(n, spaced=True) for n in self._drawn(draw, len(cities))]
        stop = self._encode(".")
        tokens: list[int] = []
        kinds: list[int] = []
        seen: set[int] = set()
        while len(tokens) < length:
            i = int(draw.integers(len(cities)))
            tokens += self.cities[cities[i]] + numbers[i] + stop
            kinds += [REST] * len(self.cities[cities[i]]) + [LOOKUP if i in seen else FREE] * len(numbers[i])
            kinds += [REST] * len(stop)
            seen.add(i)
        return np.array(tokens[:length]), np.array(kinds[:length], np.uint8)

    def hidden(self, draw: np.random.Generator) -> tuple[Ids, NDArray[np.uint8]]:
        """Return needles in text, then questions with answers, in the form of the plain prompt of a needle task."""
        recipe = self.recipe
        cities = draw.choice(len(CITIES), draw.integers(1, recipe.needles + 1), replace=False)
        numbers = self._drawn(draw, len(cities))
        asked = draw.permutation(len(cities))[: draw.integers(1, recipe.questions + 1)]
        first, last = draw.random(2) < recipe.edge
        needles = [self._filled(self.needles[c], n) for c, n in zip(cities, numbers, strict=True)]
        tail: list[int] = []
        answers: list[int] = []
        for i in asked:
            answer = self._number(numbers[i], spaced=True)
            tail += self.questions[cities[i]]
            answers += range(len(tail), len(tail) + len(answer))
            tail += answer
        before = self.between if recipe.intro else []
        begin = [*self.head, *before, *needles.pop(0)[1]] if first else self.head
        end = [*self.between, *needles.pop()[1]] if last and needles else []
        inside = [spaced for spaced, _ in needles]
        room = recipe.train_length - len(begin) - len(end) - len(tail) - sum(map(len, inside))
        start, places = self._window(draw, room, bool(first), len(inside))
        pieces = [begin]
        for (a, b), needle in zip(pairwise([start, *places]), inside, strict=True):
            pieces += [self.tokens[a:b].tolist(), needle]
        pieces += [self.tokens[places[-1] if places else start : start + room].tolist(), end, tail]
        kinds = np.full(recipe.train_length, REST, np.uint8)
        kinds[recipe.train_length - len(tail) + np.array(answers)] = ANSWER
        return np.array([token for piece in pieces for token in piece]), kinds

    def _window(self, draw: np.random.Generator, room: int, after_needle: bool, needles: int) -> tuple[int, list[int]]:
        """Find `room` tokens of text that begin and end where text may be cut: their start, and places for needles."""
        starts = self.starts[after_needle]
        for _ in range(TRIES if room > 0 and len(starts) else 0):
            start = int(starts[draw.integers(len(starts))])
            if start + room < len(self.tokens) and self.stops[start + room]:
                inner = np.flatnonzero(self.words[start + 1 : start + room]) + start + 1
                if len(inner) >= needles:
                    return start, sorted(draw.choice(inner, needles, replace=False).tolist())
        raise UserError(
            f"no window of {room} tokens between sentences fits a sequence of {self.recipe.train_length}; fewer "
            "needles or questions, a longer train_length, or texts with sentences and paragraphs would work"
        )

    def _sentences(self, city: str) -> tuple[tuple[list[str], list[str]], list[int]]:
        """A city's needle, after a space and without, in parts between which its number stands; and the tokens of
        the question with the answer up to the number."""
        w = self.recipe.wording
        needle = w.needle.replace("{city}", city)
        question = "\n".join(["\n\n" + w.question if w.question else "", w.answer_prefix]).replace("{city}", city)
        return (f" {needle}".split("{number}"), needle.split("{number}")), self._encode(question)

    def _filled(self, needle: tuple[list[str], list[str]], number: str) -> tuple[list[int], list[int]]:
        """Return the tokens of both forms of a needle, with the number in its place."""
        forms = []
        for parts in needle:
            form = self._encode(parts[0].removesuffix(" "))
            for before, after in pairwise(parts):
                form += self._number(number, spaced=before.endswith(" ")) + self._encode(after.removesuffix(" "))
            forms.append(form)
        return forms[0], forms[1]

    def _drawn(self, draw: np.random.Generator, count: int) -> list[str]:
        low, high = 10 ** (self.recipe.digits - 1), 10**self.recipe.digits
        return [str(n) for n in draw.integers(low, high, count)]

    def _number(self, number: str, *, spaced: bool) -> list[int]:
        """Return the tokens of a number; a space before it belongs to its first two digits."""
        return self._encode(f" {number}" if spaced else number)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)
