"""kv: valid JSON of the exact length, with the pair that is asked for at its place."""

import json
import re
from typing import Any

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.answering import Prompt
from ssmax_eval.tasks.kv import Kv
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def prompt(cell: Cell, **fields: Any) -> Prompt:
    task = Kv(**{"lengths": (1024,), "max_new_tokens": 40, **fields})
    return task.asking(task.frame(TOKENIZER))(cell)


@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("length", [700, 2001])
def test_json_length_place_and_value(length: int, depth: float, chat: bool) -> None:
    found = prompt(Cell(length, depth=depth, trial=0), chat_template=chat)
    assert len(found.ids) + 40 == length
    assert TOKENIZER(found.text, add_special_tokens=False)["input_ids"] == list(found.ids)
    start, stop = found.text.index("{"), found.text.rindex("}")
    pairs = json.loads(found.text[start : stop + 1])
    assert all(UUID.fullmatch(text) for pair in pairs.items() for text in pair)
    key = re.findall(r'the key "(.+?)"', found.text)[0]
    assert found.expected == (pairs[key],)
    assert found.about["key"] == key
    assert found.about["pairs"] == len(pairs)
    place = list(pairs).index(key) / (len(pairs) - 1)
    assert found.about["actual_depth"] == round(place, 4)
    assert place == pytest.approx(depth, abs=0.5 / (len(pairs) - 1) + 1e-9)
    assert len({*pairs, *pairs.values()}) == 2 * len(pairs)


def test_prompts_depend_on_seed_and_cell_alone() -> None:
    cell = Cell(900, depth=0.3, trial=1)
    task = Kv(lengths=(900, 1500), max_new_tokens=40)
    ask = task.asking(task.frame(TOKENIZER))
    first = ask(cell)
    ask(Cell(1500, depth=1.0, trial=0))
    assert ask(cell) == first == prompt(cell, lengths=(900,), depths=(0.3,))
    others = {prompt(c).text for c in (Cell(900, depth=0.3, trial=0), Cell(901, depth=0.3, trial=1))}
    others |= {prompt(cell, seed=1).text, first.text}
    assert len(others) == 4


def test_depths_of_a_trial_share_their_beginning() -> None:
    early, late = (prompt(Cell(2000, depth=depth, trial=0)) for depth in (0.5, 1.0))
    same = next(i for i, (a, b) in enumerate(zip(early.ids, late.ids, strict=False)) if a != b)
    assert same > 0.4 * len(early.ids)
    assert early.expected != late.expected


def test_the_smallest_length_is_named() -> None:
    with pytest.raises(UserError, match=r"context length 80 is too short: .* need \d+ tokens"):
        prompt(Cell(80, depth=0.0, trial=0))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depths": ()}, r"between 0 \(first\) and 1 \(last\)"),
        ({"question": "Which?"}, r"question must contain \{key\}"),
        ({"intro": "{key}"}, r"unknown field \{key\} in intro"),
    ],
)
def test_wrong_settings_are_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        Kv(lengths=(512,), **fields)
    assert "\n" not in str(error.value)
