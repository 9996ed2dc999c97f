"""Variable tracking: the chain is walked again in the text, and names are scored with what is wrong among them."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.model import Completion
from ssmax_eval.tasks.answering import Ask, Prompt
from ssmax_eval.tasks.loading import load
from ssmax_eval.tasks.variable_tracking import VariableTracking, f1
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()
SET = re.compile(r"Set (\w+) to (\w+)\.")
FORMS: dict[str, dict[str, Any]] = {
    "noise": {},
    "prose": {"haystack": "prose", "chains": 2, "example": False},
    "three chains": {"chains": 3},
}


def task(**fields: Any) -> VariableTracking:
    return VariableTracking(**{"lengths": (900,), "max_new_tokens": 30, **fields})


def asks(given: VariableTracking) -> Ask:
    return given.asking(given.frame(TOKENIZER))


@pytest.fixture(scope="module", params=FORMS)
def made(request: pytest.FixtureRequest) -> tuple[VariableTracking, Ask]:
    given = task(**FORMS[request.param])
    return given, asks(given)


def walked(given: VariableTracking, prompt: Prompt) -> list[str]:
    """The names that hold the value asked for last, by the assignments in the text in order."""
    told = SET.findall(prompt.text)
    hops = len(prompt.expected) - 1
    told = told[(hops + 1) * given.example :]  # the example's come first
    value = re.findall(r"hold the value (\d+) at", prompt.text)[-1]
    holds: dict[str, str] = {}
    for name, source in told:
        assert name not in holds
        holds[name] = source if source.isdigit() else holds[source]  # KeyError where the order of a chain is broken
    assert len(holds) == (hops + 1) * given.chains
    assert len(set(holds.values())) == given.chains
    return [name for name, held in holds.items() if held == value]


@pytest.mark.parametrize("hops", [0, 1, 4])
@pytest.mark.parametrize("trial", [0, 1])
def test_what_is_expected_is_what_the_text_says(made: tuple[VariableTracking, Ask], hops: int, trial: int) -> None:
    given, ask = made
    prompt = ask(Cell.of(1200, hops=hops, trial=trial))
    assert list(prompt.expected) == walked(given, prompt)
    assert len(prompt.expected) == hops + 1
    depths = json.loads(prompt.about["actual_depths"])
    assert depths == sorted(depths)
    assert len(depths) == hops + 1
    if given.example:
        head, _, tail = prompt.text.partition("at the end of the text?\nThese")
        assert not set(re.findall(r"\b[A-Z]{5}\b", head)) & set(prompt.expected)
        assert tail.split("\n")[0].startswith(f" {hops + 1} variables hold the value ")
        assert tail.split("\n")[0].endswith(", ".join(name for name, _ in SET.findall(head)))


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("length", [800, 801])
def test_lengths_are_exact(made: tuple[VariableTracking, Ask], length: int, chat: bool) -> None:
    given = replace(made[0], chat_template=chat)
    prompt = (made[1] if chat else asks(given))(Cell.of(length, hops=2, trial=0))
    assert len(prompt.ids) + 30 == length
    assert TOKENIZER(prompt.text, add_special_tokens=False)["input_ids"] == list(prompt.ids)
    assert prompt.text.startswith("<|user|>") == chat
    assert re.search(r"These 3 variables hold the value \d+:$", prompt.text)


def test_prompts_depend_on_seed_and_cell_alone(made: tuple[VariableTracking, Ask]) -> None:
    given, ask = made
    cell = Cell.of(900, hops=2, trial=1)
    first = ask(cell)
    ask(Cell.of(1300, hops=4, trial=0))
    assert ask(cell) == first == asks(replace(given, hops=(2,), trials=2))(cell)
    others = [Cell.of(900, hops=2, trial=0), Cell.of(900, hops=1, trial=1), Cell.of(901, hops=2, trial=1)]
    texts = {first.text, asks(replace(given, seed=1))(cell).text, *(ask(other).text for other in others)}
    assert len(texts) == 5


def test_the_assignments_lie_apart() -> None:
    ask, seen = asks(task(example=False)), list[float]()
    for trial in range(15):
        depths = json.loads(ask(Cell.of(900, hops=4, trial=trial)).about["actual_depths"])
        assert len(depths) == 5
        seen += depths
    assert 0.42 < sum(seen) / len(seen) < 0.58
    assert min(seen) < 0.05
    assert max(seen) > 0.95


def test_hops_are_a_coordinate() -> None:
    cells = task(hops=(1, 3), trials=2).cells()
    assert [dict(cell.extra)["hops"] for cell in cells] == [1, 1, 3, 3]
    assert [cell.trial for cell in cells] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("answer", "score", "balance"),
    [
        ("ABCDE, FGHIJ", 1.0, 1.0),
        ("abcde and fghij", 1.0, 1.0),
        ("ABCDE", 0.5, 2 / 3),
        ("ABCDE, FGHIJ, KLMNO, PQRST", 1.0, 2 / 3),
        ("ABCDE, FGHIJ\n\nSet UVWXY to KLMNO.", 1.0, 1.0),
        ("KLMNO", 0.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_a_list_of_all_names_finds_them_but_has_a_lower_f1(answer: str, score: float, balance: float) -> None:
    prompt = Prompt("", (), ("ABCDE", "FGHIJ"))
    values = task().scored(prompt, Completion(answer, 3, "end"))
    assert values["score"] == score
    assert values["f1"] == pytest.approx(balance)
    assert f1(answer, prompt.expected) == values["f1"]


def test_the_smallest_length_is_named() -> None:
    with pytest.raises(UserError, match=r"context length 100 is too short: .* need \d+ tokens"):
        asks(task())(Cell.of(100, hops=4, trial=0))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"haystack": "needles"}, "haystack 'needles'"),
        ({"hops": ()}, "hops must be 0 or more"),
        ({"chains": 0}, "chains 1 or more"),
        ({"hops": (10**6,)}, "must be 1000 or fewer"),
        ({"noise": ""}, "noise must be a line"),
        ({"assignment": "Set {name}."}, r"assignment must contain \{value\}"),
        ({"question": "Which?"}, r"question must contain \{value\}"),
        ({"intro": "{value}"}, r"unknown field \{value\} in intro"),
    ],
)
def test_wrong_settings_are_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        task(**fields)
    assert "\n" not in str(error.value)


def test_the_preset_is_that_of_ruler() -> None:
    given = load("ruler_vt")
    assert isinstance(given, VariableTracking)
    assert (given.hops, given.chains, given.haystack, given.example) == ((4,), 1, "noise", True)
    assert (given.max_new_tokens, given.scoring, given.name) == (30, "contains_all", "ruler_vt")
    assert len(given.cells()) == 20 * len(given.lengths)
