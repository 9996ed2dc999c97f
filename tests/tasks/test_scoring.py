"""Scores of answers, beside their definitions written once more, and functions of the user's own."""

import random
import string
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.tasks.scoring import contains_all, contains_any, identified, plain, refused, scorer
from tests.tasks.test_answering import lines

CASES = [
    ("contains_all", "7 and 12.", ["12", "7"], 1.0),
    ("contains_all", "TWELVE, seven", ["twelve", "eight"], 0.5),
    ("contains_any", "It is OSLO.", ["Oslo", "Rome"], 1.0),
    ("contains_any", "It is Bern.", ["Oslo", "Rome"], 0.0),
    ("exact", "The Oslo!", ["oslo"], 1.0),
    ("exact", "in Oslo", ["oslo"], 0.0),
    ("exact", "Rome", ["Oslo", "Rome"], 1.0),
    ("f1", "in the Oslo fjord", ["Oslo"], 0.5),
    ("f1", "Rome", ["Oslo", "in Rome"], 2 / 3),
    ("f1", "", ["Oslo"], 0.0),
    ("f1", "the", ["a"], 1.0),
    ("sequence_ratio", "abcd", ["bcde"], 0.75),
    ("sequence_ratio", "abcd", ["x", "abcd"], 1.0),
    ("choice", "(B) because A is wrong", ["B"], 1.0),
    ("choice", "The answer is C.", ["(C)"], 1.0),
    ("choice", "BAD", ["B"], 0.0),
    ("choice", "", ["B"], 0.0),
]


@pytest.mark.parametrize(("name", "answer", "expected", "score"), CASES)
def test_scores(name: str, answer: str, expected: Sequence[str], score: float) -> None:
    assert scorer(name)(answer, expected) == pytest.approx(score)


def _all_of(answer: str, expected: Sequence[str]) -> float:
    """RULER's string_match_all of one answer: the share of what is expected that is found, whatever the case."""
    return sum(1.0 if one.casefold() in answer.casefold() else 0.0 for one in expected) / len(expected)


def _part_of(answer: str, expected: Sequence[str]) -> float:
    return max(1.0 if one.casefold() in answer.casefold() else 0.0 for one in expected)


@pytest.mark.parametrize(("ours", "theirs"), [(contains_all, _all_of), (contains_any, _part_of)])
def test_random_answers_score_as_in_ruler(ours: Callable[..., float], theirs: Callable[..., float]) -> None:
    draw, seen = random.Random(0), set()
    letters = "aAbB1 .\n\t\x00\x1f"
    for _ in range(3000):
        expected = ["".join(draw.choices("aAbB1 ", k=draw.randint(1, 3))) for _ in range(draw.randint(1, 5))]
        answer = "".join(draw.choices(letters, k=draw.randint(0, 12)))
        cleaned = "".join("\n" if letter < " " else letter for letter in answer.strip()).strip()
        assert ours(answer, expected) == pytest.approx(theirs(cleaned, expected), abs=1e-12)
        seen.add(round(ours(answer, expected), 2))
    assert {0.0, 1.0} <= seen


def test_control_characters_are_no_part_of_an_answer() -> None:
    assert plain(" \x00seven\x1f\t") == "seven"
    assert contains_all("se\x00ven", ["seven"]) == 0.0


@pytest.mark.parametrize(
    "answer", ["I'm sorry, I cannot.", " I can't say", "As an AI, I", "Unfortunately not", "Sorry."]
)
def test_refusals_are_seen(answer: str) -> None:
    assert refused(answer)
    assert not refused(f"7. {answer}")


def test_a_function_of_the_users_own_scores(tmp_path: Path) -> None:
    file = tmp_path / "my_score.py"
    file.write_text("def half(answer, expected):\n    return 0.5 if answer in expected else 0\n")
    task = lines(scoring=f"{file}:half")
    assert task.scorer()("a", ("a", "b")) == 0.5
    assert task.scorer()("c", ("a", "b")) == 0.0
    named = task.settings()["scoring"]
    assert str(tmp_path) not in named
    assert named.startswith("half ")
    assert task.places() == {"scoring": f"{file}:half"}
    other = tmp_path / "other.py"
    other.write_text(file.read_text().replace("0.5", "0.25"))
    assert identified(f"{other}:half") != named
    assert identified("f1") == "f1"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 2", r"must return a number from 0 to 1; got 2"),
        ("return float('nan')", r"must return a number from 0 to 1; got nan"),
        ("return 'good'", r"must return a number from 0 to 1; got 'good'"),
        ("return 1 / 0", r"scoring .*:score fails: ZeroDivisionError"),
    ],
)
def test_what_a_function_must_not_do_is_one_line(tmp_path: Path, body: str, says: str) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(f"def score(answer, expected):\n    {body}\n")
    with pytest.raises(UserError, match=says):
        scorer(f"{file}:score")("a", ["a"])


def test_a_function_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("score = 1\n")
    with pytest.raises(UserError, match=r"'score' in .* must be a function, for scoring"):
        scorer(f"{file}:score")
    with pytest.raises(UserError, match="cannot read"):
        scorer(f"{tmp_path}/none.py:score")
    with pytest.raises(UserError, match=r"scoring takes file.py:function"):
        lines(scoring=":score")


def test_punctuation_is_what_squad_leaves_out() -> None:
    for mark in string.punctuation:
        assert scorer("exact")(f"Os{mark}lo", ["oslo"]) == 1.0
