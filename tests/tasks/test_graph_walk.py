"""Graph walk: walking the edges of the text gives the answer, and an answer is scored as a set."""

import re
from collections import Counter
from itertools import product
from typing import Any

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.model import Completion
from ssmax_eval.tasks.answering import Prompt
from ssmax_eval.tasks.graph_walk import GraphWalk, agreement, named
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()


def graph(**changes: Any) -> GraphWalk:
    return GraphWalk(**{"lengths": (900, 1500), "trials": 2, **changes})


def ask(task: GraphWalk, length: int = 900, trial: int = 0) -> Prompt:
    return task.asking(task.frame(TOKENIZER))(Cell(length, trial=trial))


def edges(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^- ([0-9a-f]+) -> ([0-9a-f]+)", text, re.MULTILINE)


def walked(found: list[tuple[str, str]], node: str, distance: int) -> set[str]:
    """The nodes whose shortest way from a node has so many edges."""
    seen, layer = {node}, {node}
    for _ in range(distance):
        layer = {end for start, end in found if start in layer} - seen
        seen |= layer
    return layer


@pytest.mark.parametrize(
    ("chat", "length", "distance", "degree"),
    [*product([True, False], [900, 1501], [2], [2]), (True, 1000, 1, 4), (True, 2000, 3, 2), (False, 1000, 4, 1)],
)
def test_walking_the_edges_of_the_text_gives_the_answer(chat: bool, length: int, distance: int, degree: int) -> None:
    task = graph(chat_template=chat, distance=distance, out_degree=degree)
    for trial in range(3):
        prompt = ask(task, length, trial)
        ids = TOKENIZER(prompt.text, add_special_tokens=not chat)["input_ids"]
        assert prompt.ids == ids
        assert len(ids) == length - 64
        found = edges(prompt.text)
        asked = re.findall(r"steps? from (\w+)\?", prompt.text)[0]
        assert walked(found, asked, distance) == set(prompt.expected)
        assert prompt.expected
        assert len(set(found)) == len(found) == prompt.about["edges"]
        assert all(start != end for start, end in found)
        leading = Counter(start for start, _ in found)
        assert Counter(leading.values())[degree] >= len(leading) - 1  # but for the last node, perhaps
        assert max(leading.values()) == degree


@pytest.mark.parametrize(("length", "count", "degree"), [(900, 3, 2), (1200, 1, 1), (1500, 6, 3)])
def test_the_parents_are_those_of_the_text(length: int, count: int, degree: int) -> None:
    task = graph(question="parents", parents=count, out_degree=degree)
    for trial in range(3):
        prompt = ask(task, length, trial)
        (asked,) = re.findall(r"have an edge to (\w+)\?", prompt.text)
        found = edges(prompt.text)
        assert {start for start, end in found if end == asked} == set(prompt.expected)
        assert len(prompt.expected) == count
        assert len(set(found)) == len(found)


def test_walks_meet_so_that_a_node_that_was_seen_before_does_not_count() -> None:
    task = graph(distance=3)
    answers = [len(task.filling(Cell(900, trial=trial), task.frame(TOKENIZER)).expected) for trial in range(40)]
    assert min(answers) >= 1
    assert max(answers) <= 8
    assert len(set(answers)) > 3


def test_a_prompt_depends_on_the_cell_alone() -> None:
    one, other = graph(), graph(lengths=(1500,), trials=1)
    asked = one.asking(one.frame(TOKENIZER))
    texts = {(length, trial): asked(Cell(length, trial=trial)).text for length, trial in product((900, 1500), (0, 1))}
    assert len(set(texts.values())) == 4
    assert ask(other, 1500).text == texts[1500, 0]
    assert ask(graph(seed=1)).text != texts[900, 0]
    assert {edges(texts[900, 0])[0], edges(texts[900, 0])[1]} != {*edges(texts[1500, 0])[:2]}


@pytest.mark.parametrize("changes", [{}, {"question": "parents"}, {"out_degree": 5, "distance": 1}])
def test_the_smallest_length_is_named_and_works_for_every_trial(changes: dict[str, Any]) -> None:
    task = graph(trials=4, **changes)
    with pytest.raises(UserError, match=r"context length 100 is too short: .* need \d+ tokens") as refused:
        ask(task, 100)
    smallest = int(str(refused.value).split("need ")[1].split()[0])
    asked = task.asking(task.frame(TOKENIZER))
    for trial in range(4):
        assert len(asked(Cell(smallest, trial=trial)).ids) == smallest - 64


@pytest.mark.parametrize(
    ("answer", "opened", "nodes"),
    [
        ("a1, b2, c3", True, {"a1", "b2", "c3"}),
        (" A1 , 'b2'] and then [c3]", True, {"a1", "b2"}),
        ("a1, b2\nThe list: [c3]", True, {"a1", "b2"}),
        ("The list: [a1, b2]", True, {"a1", "b2"}),
        ("", True, set()),
        ("First [x].\nThen more.\nThe list: [a1, b2]\n\n", False, {"a1", "b2"}),
        ("The nodes are: a1, b2.", False, {"a1", "b2"}),
        ("[a1]\nI am not sure", False, {"i am not sure"}),
        ("[]", False, set()),
    ],
)
def test_the_nodes_that_an_answer_names(answer: str, opened: bool, nodes: set[str]) -> None:
    assert named(answer, opened=opened) == nodes


def test_agreement_of_sets() -> None:
    assert agreement({"a", "b"}, ("a", "b")) == (1.0, 1.0, 1.0, 1.0)
    assert agreement({"a", "x", "y", "z"}, ("a", "b")) == (2 / 6, 1 / 4, 1 / 2, 0.0)
    assert agreement(set(), ("a",)) == (0.0, 0.0, 0.0, 0.0)


def test_a_cell_holds_all_shares_and_a_list_that_was_begun_ends_with_its_bracket() -> None:
    task = graph()
    prompt = ask(task)
    right = ", ".join(prompt.expected)
    values = task.scored(prompt, Completion(f"{right}, 123456", 9, "stop"))
    assert (values["recall"], values["exact"]) == (1.0, 0.0)
    assert values["score"] == pytest.approx(2 * len(prompt.expected) / (2 * len(prompt.expected) + 1))
    assert {quantity.name for quantity in task.numbers()} <= {*values, "thought_cut"}
    assert task.stops == ("]",)
    assert prompt.text.endswith("The list: [")
    thinking = graph(thinking=20)
    assert thinking.stops == ()
    assert thinking.scored(ask(thinking), Completion(f"Well.\n[{right}]", 9, "end"))["exact"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": "dfs"}, "unknown question 'dfs'; did you mean 'bfs'"),
        ({"distance": 0}, "distance and out_degree must be 1 to 10"),
        ({"distance": 7}, r"at most 100, the nodes of the longest answer; given 2 \*\* 7"),
        ({"digits": 4}, "digits must be 5 to 16"),
        ({"scoring": "contains_all"}, "unknown scoring 'contains_all'; known: set_f1"),
        ({"bfs_question": "{start}?"}, "unknown field {start} in bfs_question"),
    ],
)
def test_wrong_settings_are_refused_in_a_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        graph(**changes)
