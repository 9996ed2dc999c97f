"""Retrieval: the values are where the cell says, and what is expected is what the text holds."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks import words
from ssmax_eval.tasks.answering import Ask, Prompt
from ssmax_eval.tasks.loading import load, settings
from ssmax_eval.tasks.retrieval import Retrieval
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()
NEEDLE = re.compile(r"A secret (?:number|word|code) for (.+?) is (\S+)\.(?=\s|$)")
FORMS: dict[str, dict[str, Any]] = {
    "noise": {"haystack": "noise"},
    "prose": {"haystack": "prose", "keys": 4},
    "uuids": {"haystack": "needles", "key_type": "uuids", "value_type": "uuids"},
    "words": {"haystack": "needles", "key_type": "numbers", "value_type": "words", "keys": 3},
    "several values": {"haystack": "prose", "values": 4},
    "several keys": {"haystack": "needles", "keys": 5, "queries": 3, "values": 2},
}


def task(**fields: Any) -> Retrieval:
    return Retrieval(**{"lengths": (512,), "max_new_tokens": 20, **fields})


def asks(given: Retrieval) -> Ask:
    return given.asking(given.frame(TOKENIZER))


def cell(given: Retrieval, length: int, depth: float = 0.5, trial: int = 0) -> Cell:
    return Cell(length, depth=depth if given.single else None, trial=trial)


@pytest.fixture(scope="module", params=FORMS)
def made(request: pytest.FixtureRequest) -> tuple[Retrieval, Ask]:
    given = task(**FORMS[request.param])
    return given, asks(given)


@pytest.mark.parametrize("length", [700, 701, 1024])
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
def test_lengths_are_exact(made: tuple[Retrieval, Ask], length: int, chat: bool) -> None:
    given = replace(made[0], chat_template=chat)
    ask = made[1] if chat else asks(given)
    for depth in (0.0, 0.6, 1.0):
        prompt = ask(cell(given, length, depth))
        assert len(prompt.ids) + 20 == length
        assert TOKENIZER(prompt.text, add_special_tokens=False)["input_ids"] == list(prompt.ids)
        assert prompt.text.startswith("<|user|>") == chat


@pytest.mark.parametrize("trial", range(3))
def test_what_is_expected_is_what_the_text_says(made: tuple[Retrieval, Ask], trial: int) -> None:
    """The needles are read from the text, and the keys from the question."""
    given, ask = made
    prompt = ask(cell(given, 1024, 0.4, trial))
    found = NEEDLE.findall(prompt.text)
    asked = re.findall(r"given for (.+) in the text above", prompt.text)[0]
    keys = re.split(r", | and ", asked) if given.queries > 1 else [asked]
    assert len(keys) == len(set(keys)) == given.queries
    assert sorted(prompt.expected) == sorted(value for key, value in found if key in keys)
    assert len(prompt.expected) == given.queries * given.values
    values = [value for _, value in found]
    assert len(values) == len(set(values))
    for value in prompt.expected:
        assert prompt.text.count(value) == 1
        assert sum(value in other for other in values) == 1  # another value never holds it
    planted = given.keys * given.values
    assert len(found) > planted if given.haystack == "needles" else len(found) == planted
    assert prompt.about["key"] == asked


def test_prompts_depend_on_seed_and_cell_alone(made: tuple[Retrieval, Ask]) -> None:
    given, ask = made
    wanted = cell(given, 600, 0.3, 2)
    before = ask(wanted)
    for length in (900, 333 if given.haystack == "noise" else 700):
        ask(cell(given, length, 1.0, 1))
    sub = asks(replace(given, lengths=(600,), depths=(0.3,), trials=3))
    assert ask(wanted) == before == sub(wanted)
    texts = {ask(other).text for other in (wanted, cell(given, 600, 0.3, 1), cell(given, 601, 0.3, 2))}
    texts.add(asks(replace(given, seed=1))(wanted).text)
    assert len(texts) == 4


@pytest.mark.parametrize("form", ["noise", "prose", "uuids"])
@pytest.mark.parametrize("depth", [0.0, 0.25, 0.5, 0.875, 1.0])
def test_the_depth_is_reached(form: str, depth: float) -> None:
    given = task(**FORMS[form])
    prompt = asks(given)(cell(given, 2000, depth))
    said = prompt.about["actual_depth"]
    assert said == pytest.approx(depth, abs=0.08)
    assert depth not in (0.0, 1.0) or said == depth
    start, stop = (prompt.text.index(part) for part in ("at the end.\n\n", "\n\nWhich secret"))
    at = prompt.text.index(prompt.expected[0])
    assert (at - start) / (stop - start) == pytest.approx(said, abs=0.05)


@pytest.mark.parametrize("form", ["noise", "prose", "uuids"])
def test_depths_of_a_trial_share_their_beginning(form: str) -> None:
    given = task(**FORMS[form])
    early, late = (asks(given)(cell(given, 2000, depth)) for depth in (0.5, 1.0))
    same = next(i for i, (a, b) in enumerate(zip(early.ids, late.ids, strict=False)) if a != b)
    assert same > 0.4 * len(early.ids)
    assert early.expected != late.expected


def test_several_needles_are_spread_without_replacement() -> None:
    given = task(haystack="noise", keys=4, queries=4)
    ask, seen = asks(given), list[float]()
    for trial in range(20):
        depths = json.loads(ask(cell(given, 700, trial=trial)).about["actual_depths"])
        assert len(set(depths)) == 4
        seen += depths
    assert 0.4 < sum(seen) / len(seen) < 0.6
    assert min(seen) < 0.1
    assert max(seen) > 0.9
    ordered = [sorted(seen[i : i + 4]) == seen[i : i + 4] for i in range(0, len(seen), 4)]
    assert 0 < sum(ordered) + 1 < 10  # the first that is asked for is not always the first in the text


def test_a_text_that_is_too_short_is_repeated(tmp_path: Any) -> None:
    (tmp_path / "short.txt").write_text("One sentence is here. Another is there. A third ends it.")
    given = task(texts=(str(tmp_path / "short.txt"),))
    prompt = asks(given)(cell(given, 600))
    assert len(prompt.ids) + 20 == 600
    assert prompt.text.count("Another is there.") > 10


def test_a_value_never_stands_in_the_text(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssmax_eval.tasks import needles

    (tmp_path / "text.txt").write_text("The year was 1234567. " * 40)
    drawn = iter(["quiet-harbor", "1234567", "7654321"])
    for kind in ("words", "numbers"):
        monkeypatch.setitem(needles.KINDS, kind, lambda _: next(drawn))
    given = task(texts=(str(tmp_path / "text.txt"),))
    monkeypatch.setattr("ssmax_eval.tasks.retrieval.check_kept", lambda *_: None)
    assert asks(given)(cell(given, 400)).expected == ("7654321",)


def test_the_smallest_length_is_named() -> None:
    given = task(haystack="noise")
    ask = asks(given)
    with pytest.raises(UserError, match=r"context length 50 is too short: .* need \d+ tokens") as error:
        ask(cell(given, 50))
    smallest = int(re.findall(r"need (\d+)", str(error.value))[0])
    same = some_prompt(given, ask, smallest)
    assert len(same.ids) + 20 == smallest


def some_prompt(given: Retrieval, ask: Ask, length: int) -> Prompt:
    """A prompt of the length; needles differ in tokens from cell to cell, so some trials need a little more."""
    for trial in range(20):
        try:
            return ask(cell(given, length, trial=trial))
        except UserError:
            continue
    raise AssertionError(f"no trial fits {length} tokens")


def test_words_are_in_the_identity_where_they_are_used() -> None:
    assert task().settings()["words"] == words.digest()
    assert "words" not in task(key_type="numbers").settings()
    for listed in (words.nouns(), words.adjectives(), words.verbs()):
        assert len(listed) > 800
        assert listed == sorted(set(listed))


def test_a_thinking_model_gets_no_answer_prefix() -> None:
    given = task(thinking=30)
    prompt = given.asking(given.frame(TOKENIZER))(cell(given, 512))
    assert len(prompt.ids) == 512 - 50
    assert "The secret number for" not in prompt.text
    assert "The secret number for" in asks(task())(cell(task(), 512)).text


def test_one_value_has_a_depth_and_several_have_none() -> None:
    one, many = task(depths=(0.0, 1.0), trials=2), task(values=2, trials=2)
    assert [c.depth for c in one.cells()] == [0.0, 1.0] * 2
    assert [c.depth for c in many.cells()] == [None] * 2
    assert "heatmap" in one.numbers()[0].views
    assert "heatmap" not in many.numbers()[0].views
    shuffled = [one.cells()[i] for i in (3, 0, 2, 1)]
    assert list(one.batches(shuffled, 4)) == [one.cells()]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"haystack": "hay"}, "haystack 'hay'"),
        ({"key_type": "names"}, "key_type 'names'"),
        ({"value_type": "names"}, "value_type 'names'"),
        ({"queries": 2}, "queries at most keys; given 1, 1 and 2"),
        ({"keys": 0}, "must be 1 or more"),
        ({"keys": 200_000}, "10,000 or fewer"),
        ({"depths": (1.5,)}, r"between 0 \(start\) and 1 \(end\); given \[1.5\]"),
        ({"noise": " "}, "noise must be a line"),
        ({"lengths": (10**12,)}, "lengths must be at most 16,777,216 tokens"),
        ({"needle": "It is {value}."}, r"needle must contain \{key\}"),
        ({"needle": "A {{value}} for {key}"}, r"needle must contain \{value\}"),
        ({"question": "Which?"}, r"question must contain \{key\}"),
        ({"question": "Which for {city}?"}, r"unknown field \{city\} in question"),
        ({"intro": "{key}"}, r"unknown field \{key\} in intro"),
    ],
)
def test_wrong_settings_are_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        task(**fields)
    assert "\n" not in str(error.value)


def test_a_tokenizer_that_loses_digits_is_refused() -> None:
    from tokenizers import Regex, normalizers

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex(r"\d"), "")
    with pytest.raises(UserError, match="loses parts of words"):
        task().asking(task().frame(tokenizer))


PRESETS = {
    "ruler_single_1": ("noise", "words", "numbers", 1, 1, 1),
    "ruler_single_2": ("prose", "words", "numbers", 1, 1, 1),
    "ruler_single_3": ("prose", "words", "uuids", 1, 1, 1),
    "ruler_multikey_1": ("prose", "words", "numbers", 4, 1, 1),
    "ruler_multikey_2": ("needles", "words", "numbers", 1, 1, 1),
    "ruler_multikey_3": ("needles", "uuids", "uuids", 1, 1, 1),
    "ruler_multivalue": ("prose", "words", "numbers", 1, 4, 1),
    "ruler_multiquery": ("prose", "words", "numbers", 4, 1, 4),
}
"""Haystack, key, value, and how many keys, values and queries: the table of RULER's synthetic.yaml."""


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_those_of_ruler(name: str) -> None:
    given = load(name)
    assert isinstance(given, Retrieval)
    assert given.form == ("retrieval", *PRESETS[name])
    assert given.name == given.preset == name
    assert given.max_new_tokens == 128
    assert given.scoring == "contains_all"
    assert len(given.cells()) == 20 * len(given.lengths)
    assert {n for n in settings() if n.startswith(("ruler_single", "ruler_multi"))} == set(PRESETS)
    prompt = asks(given)(given.cells()[-21])  # of the length before the last
    assert len(prompt.ids) + 128 == given.lengths[-2]


def test_a_haystack_for_each_depth() -> None:
    def lines_of(own: bool) -> list[list[str]]:
        """The distractors of two depths of a trial."""
        given = task(haystack="needles", own_filler=own)
        ask = asks(given)
        return [NEEDLE.findall(ask(cell(given, 700, depth)).text) for depth in (0.25, 1.0)]

    first, second = lines_of(own=False)
    assert len(set(first) & set(second)) > 5
    first, second = lines_of(own=True)
    assert not set(first) & set(second)
    assert "own_filler" not in task().settings()
    assert task(own_filler=True).settings()["own_filler"] is True
    assert {one.units for one in task(own_filler=True).numbers()} == {("haystack",)}
    with pytest.raises(UserError, match="own_filler must be false"):
        task(own_filler=True, values=2)
