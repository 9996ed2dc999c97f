"""Frequent words: the text follows the law, and the answer is what counting it gives."""

from collections import Counter
from itertools import product
from math import floor
from typing import Any

import pytest

from ssmax_eval import tasks
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.answering import Prompt
from ssmax_eval.tasks.fitting import PADDING
from ssmax_eval.tasks.frequent_words import FrequentWords
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()
ZETA = {2.0: 1.6449340668482264, 1.5: 2.612375348685488}


def words(**changes: Any) -> FrequentWords:
    return FrequentWords(**{"lengths": (512, 1024), "trials": 2, **changes})


def ask(task: FrequentWords, length: int = 512, trial: int = 0) -> Prompt:
    return task.asking(task.frame(TOKENIZER))(Cell(length, trial=trial))


def counted(text: str) -> Counter[str]:
    return Counter(text.split("\n\n")[1].split())


@pytest.mark.parametrize(
    ("chat", "length", "alpha"), [*product([True, False], [512, 777, 2048], [2.0]), (True, 900, 1.5)]
)
def test_counting_the_words_of_the_text_gives_the_answer(chat: bool, length: int, alpha: float) -> None:
    task = words(chat_template=chat, alpha=alpha)
    prompt = ask(task, length)
    ids = TOKENIZER(prompt.text, add_special_tokens=not chat)["input_ids"]
    assert prompt.ids == ids
    assert len(ids) == length - 50
    counts = counted(prompt.text)
    dots = counts.pop("...")
    for word in PADDING:
        counts.pop(word, None)
    ranked = counts.most_common()
    assert {word for word, _ in ranked[:3]} == set(prompt.expected)
    assert ranked[2][1] > (ranked[3][1] if len(ranked) > 3 else 0)
    assert all(len(word) == 6 and word.isalpha() and word.islower() for word in counts)
    assert prompt.about == {"coined_words": sum(counts.values()), "least_count": ranked[2][1]}
    # some N gives every count, by the law and an independent zeta
    vocabulary = max((length - 50) // 50, 4)
    wanted = [count for _, count in ranked]

    def law(scale: int) -> list[int]:
        return [floor(scale * k**-alpha / ZETA[alpha]) for k in range(1, vocabulary + 1)]

    (first, *_) = (n for n in range(10_000) if [c for c in law(n)[1:] if c] == wanted)
    assert 0 <= dots - law(first)[0] <= 12


def test_the_vocabulary_is_rulers_unless_it_is_given() -> None:
    assert [words().words(length) for length in (300, 4096, 131_072)] == [5, 80, 2620]
    assert words(vocabulary=17).words(4096) == 17
    assert words(thinking=50).words(4096) == 79
    assert words(answers=9).words(300) == 10
    assert len(counted(ask(words(vocabulary=6), 2048).text)) <= 6 + 5


def test_a_prompt_depends_on_the_cell_alone() -> None:
    one, other = words(), words(lengths=(1024,), trials=1)
    asked = one.asking(one.frame(TOKENIZER))
    texts = {(length, trial): asked(Cell(length, trial=trial)).text for length, trial in product((512, 1024), (0, 1))}
    assert len(set(texts.values())) == 4
    assert ask(other, 1024).text == texts[1024, 0]
    assert ask(words(seed=1)).text != texts[512, 0]
    assert len({tuple(text.split("\n\n")[1].split()[:20]) for text in texts.values()}) == 4


@pytest.mark.parametrize("changes", [{}, {"answers": 8, "alpha": 1.3}])
def test_the_smallest_length_is_named_and_works_for_every_trial(changes: dict[str, Any]) -> None:
    task = words(trials=4, max_new_tokens=70, **changes)
    with pytest.raises(UserError, match=r"context length 100 is too short: .* need \d+ tokens") as refused:
        ask(task, 100)
    smallest = int(str(refused.value).split("need ")[1].split()[0])
    asked = task.asking(task.frame(TOKENIZER))
    for trial in range(4):
        prompt = asked(Cell(smallest, trial=trial))
        assert len(prompt.ids) == smallest - 70
        counts = counted(prompt.text)
        assert min(counts[word] for word in prompt.expected) > max(
            count
            for word, count in counts.items()
            if word not in (*prompt.expected, "...") and word.strip(".") not in PADDING
        )


def test_the_last_answer_is_more_frequent_than_the_next_rank_at_every_size() -> None:
    for alpha, answers in product((1.05, 2.0, 4.5), (1, 3, 9)):
        task = words(alpha=alpha, answers=answers, max_new_tokens=100)
        for scale in [*range(task.least, task.least + 500), 10**6]:
            counts = task.counts(answers + 3, scale)
            assert counts[answers] > counts[answers + 1]


def test_ruler_has_its_figures() -> None:
    task = tasks.load("ruler_fwe")
    assert isinstance(task, FrequentWords)
    assert (task.alpha, task.max_new_tokens, task.answers, task.letters) == (2.0, 50, 3, 6)
    assert task.words(4096) == (4096 - 50) // 50
    assert task.numbers()[0].title == "frequent words found (ruler_fwe)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.0}, "alpha must be above 1 and at most 5; given 1.0"),
        ({"answers": 0}, "answers must be 1 to 20, and letters 3 to 20; given 0 and 6"),
        ({"vocabulary": 3}, "vocabulary must be 0, or 4 to 100000 words; given 3"),
        ({"letters": 3, "vocabulary": 9000}, "vocabulary must be 0, or 4 to 4394 words; given 9000"),
        ({"noise": ". ."}, "noise must be one word without spaces, of 100 characters at most; given '. .'"),
        ({"noise": "a" * 20_000}, "of 100 characters at most; given 'aaa"),
    ],
)
def test_wrong_settings_are_refused_in_a_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        words(**changes)
