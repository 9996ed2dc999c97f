"""Common words: the list in the text is what the fields say, and the answer is what counting it gives."""

import re
from collections import Counter
from itertools import product
from typing import Any

import pytest

from ssmax_eval import tasks
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.answering import Prompt
from ssmax_eval.tasks.common_words import CommonWords
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()
SMALL = {"common": 3, "max_new_tokens": 40, "short_below": 1000, "times": (8, 2), "example_words": 6,
         "example_times": (4, 2), "short_example_words": 5}  # fmt: skip


def words(**changes: Any) -> CommonWords:
    return CommonWords(**{"lengths": (600, 1100), "trials": 2, **SMALL, **changes})


def ask(task: CommonWords, length: int = 600, trial: int = 0) -> Prompt:
    return task.asking(task.frame(TOKENIZER))(Cell(length, trial=trial))


def lists(text: str) -> list[list[str]]:
    """The words of the numbered lists in a text; an example's answer is a list as well."""
    found: list[list[str]] = []
    for number, word in re.findall(r"(\d+)\. ([a-z-]+)", text):
        if number == "1":
            found.append([])
        found[-1].append(word)
        assert len(found[-1]) == int(number)
    return found


@pytest.mark.parametrize(("chat", "length"), [*product([True, False], [600, 999, 1000, 1601])])
def test_counting_the_words_of_the_text_gives_the_answer(chat: bool, length: int) -> None:
    task = words(chat_template=chat)
    often, rarely = (6, 1) if length < 1000 else (8, 2)
    shown_often, shown_rarely, size = (3, 1, 5) if length < 1000 else (4, 2, 6)
    prompt = ask(task, length)
    ids = TOKENIZER(prompt.text, add_special_tokens=not chat)["input_ids"]
    assert prompt.ids == ids
    assert len(ids) == length - 40
    example, answer, listed = lists(prompt.text)
    counts = Counter(listed)
    assert {word for word, count in counts.items() if count == often} == set(prompt.expected)
    assert len(set(prompt.expected)) == 3
    assert {count for word, count in counts.items() if word not in prompt.expected} == {rarely}
    assert prompt.about == {"entries": len(listed)}
    shown = Counter(example)
    assert sorted(shown.values()) == [shown_rarely] * (size - 3) + [shown_often] * 3
    assert {word for word, count in shown.items() if count == shown_often} == set(answer)
    assert not set(example) & set(listed)


def test_no_other_word_of_the_list_holds_a_common_one() -> None:
    for trial in range(5):
        prompt = ask(words(trials=5), 1600, trial)
        listed = set(lists(prompt.text)[-1])
        assert [word for word in listed for one in prompt.expected if one in word and word != one] == []


def test_a_prompt_depends_on_the_cell_alone() -> None:
    one, other = words(), words(lengths=(1100,), trials=1)
    asked = one.asking(one.frame(TOKENIZER))
    texts = {(length, trial): asked(Cell(length, trial=trial)).text for length, trial in product((600, 1100), (0, 1))}
    assert len(set(texts.values())) == 4
    assert ask(other, 1100).text == texts[1100, 0]
    assert ask(words(seed=1)).text != texts[600, 0]
    first = {tuple(lists(text)[-1][:4]) for text in texts.values()}
    assert len(first) == 4  # the order is another one in each


def test_more_words_than_there_are_go_on_in_pairs() -> None:
    task = words(chat_template=False, short_example_words=0, short_below=10**6)
    body = task.filling(Cell(600, trial=0), task.frame(TOKENIZER)).body(9000, "")
    (listed,) = lists(body)
    counts = Counter(listed)
    assert len(counts) == 9003
    assert sum("-" in word for word in counts) > 500
    common = set(ask(task).expected)
    assert {counts[word] for word in common} == {6}
    assert not any(one in word for word in counts if "-" in word for one in common)


def test_the_smallest_length_is_named_and_works_for_every_trial() -> None:
    task = words(lengths=(150,), trials=4)
    with pytest.raises(UserError, match=r"context length 150 is too short: .* need \d+ tokens") as refused:
        ask(task, 150)
    smallest = int(str(refused.value).split("need ")[1].split()[0])
    asked = task.asking(task.frame(TOKENIZER))
    for trial in range(4):
        assert len(asked(Cell(smallest, trial=trial)).ids) == smallest - 40
    with pytest.raises(UserError, match=f"need {smallest} tokens"):
        ask(task, smallest - 1)


def test_a_named_length_obeys_the_rule_of_longer_ones() -> None:
    task = words(short_below=420)
    with pytest.raises(UserError) as refused:
        ask(task, 400)
    smallest = int(str(refused.value).split("need ")[1].split()[0])
    assert smallest > 420
    assert len(ask(task, smallest).ids) == smallest - 40


def test_a_budget_that_the_right_answer_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"max_new_tokens must be \d+ or more, which the right answer takes; given 2"):
        ask(words(max_new_tokens=2))


def test_a_model_that_thinks_gets_no_beginning_of_an_answer() -> None:
    assert ask(words(thinking=20)).text.endswith("<|assistant|>")
    assert ask(words()).text.endswith("<|assistant|>The 3 words that come up most are:")


def test_ruler_has_its_figures() -> None:
    task = tasks.load("ruler_cwe")
    assert isinstance(task, CommonWords)
    assert (task.common, task.max_new_tokens) == (10, 120)
    assert [tuple(part) for part in task.rule(4096)[:2]] == [(30, 3), (10, 3)]
    assert [tuple(part) for part in task.rule(4095)[:2]] == [(6, 1), (3, 1)]
    assert (task.rule(4096).example_words, task.rule(1024).example_words) == (40, 20)
    assert task.numbers()[0].title == "common words found (ruler_cwe)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": (3, 3)}, "times must be two whole numbers, .* given .3, 3"),
        ({"times": (10**9, 1)}, r"both 1 to 1000; given \[1000000000, 1"),
        ({"short_example_times": (3,)}, "short_example_times must be two whole numbers"),
        ({"common": 0}, "common must be 1 to 100 words; given 0"),
        ({"example_words": 3}, "example_words must be 0, or 4 to 1000, more than common; given 3"),
        ({"question": "Which {words}?"}, "unknown field {words} in question; it takes {count}"),
    ],
)
def test_wrong_settings_are_refused_in_a_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        words(**changes)
