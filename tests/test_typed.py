"""Settings from the command line: a text is taken as it is typed, everything else is read as YAML."""

from dataclasses import dataclass

import pytest

from ssmax_eval import tasks
from ssmax_eval.errors import UserError
from ssmax_eval.settings import assignments, checked
from ssmax_eval.train import recipe


@dataclass
class Fields:
    text: str = ""
    maybe: str | None = None
    number: float = 0.0
    texts: tuple[str, ...] = ()
    flag: bool = False


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("text=Item #7: which?", "Item #7: which?"),
        ("text=Special magic number: {city} {number}.", "Special magic number: {city} {number}."),
        ("text=null", "null"),
        ("text=1e-3", "1e-3"),
        ("text=[a", "[a"),
        ("text=a=b", "a=b"),
        ("text= spaces kept ", " spaces kept "),
        ("text=", ""),
        ("maybe=null", None),
        ("maybe=word", "word"),
        ("number=1e-3", 1e-3),
        ("texts=[a.txt, b.txt]", ("a.txt", "b.txt")),
        ("texts=a.txt", ("a.txt",)),
        ("flag=true", True),
    ],
)
def test_what_set_sets(setting: str, value: object) -> None:
    (found,) = checked(Fields, assignments([setting]), "the command").values()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("texts=[a", "--set texts is not readable as YAML"),
        ("number=", "'number' in the command must be a number; got ''"),
        ("flag=1", "must be true or false"),
    ],
)
def test_what_set_refuses(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        checked(Fields, assignments([setting]), "the command")


def test_the_wordings_of_a_task_and_of_a_recipe_can_be_set() -> None:
    setting = assignments(["needle=Special magic number: {city} {number}.", "question=Item #7: which?"])
    task = tasks.load("niah", setting)
    assert task.settings()["needle"] == "Special magic number: {city} {number}."
    assert task.settings()["question"] == "Item #7: which?"
    chosen = recipe.load("cpu", {}, ["answer_prefix=Special magic number: {city}", "steps=4"])
    assert (chosen.answer_prefix, chosen.steps) == ("Special magic number: {city}", 4)
