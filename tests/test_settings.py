"""YAML and FIELD=VALUE: either a value of its field's type, or one line that says what is wrong."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.errors import UserError, harmless, shown
from ssmax_eval.settings import assignments, checked, from_yaml, yaml_value

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
)


@dataclass(frozen=True)
class Settings:
    """Fields of every kind."""

    count: int = 0
    share: float = 0.0
    name: str = ""
    lengths: tuple[int, ...] = ()
    table: dict[str, int] | None = None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAUGHS, "more than 100,000 values, once its aliases are unfolded"),
        ("&a [*a]", "more than 100,000 values"),
        ("[" * 5000, "nested too deeply"),
        ("!!timestamp x", "not readable as YAML"),
        ("!!int ''", "not readable as YAML"),
        ("2001-99-99", "month must be in"),
        ("9" * 5000, "not readable as YAML"),
        ("<<: 3", "not readable as YAML"),
        ("{[1]: 2}", "not readable as YAML"),
        ("a: 1\n---\nb: 2", "not readable as YAML"),
        ("!!python/name:os.system", "not readable as YAML"),
    ],
)
def test_yaml_that_cannot_be_a_value_is_one_line(content: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        yaml_value(content, "here")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_aliases_and_merges_of_a_decent_size_are_read() -> None:
    assert yaml_value("a: &a [1, 2]\nb: *a", "here") == {"a": [1, 2], "b": [1, 2]}
    assert yaml_value("<<: {a: 1}\nb: 2", "here") == {"a": 1, "b": 2}
    assert yaml_value("", "here") is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": float("inf")}, "must be a finite number; got inf"),
        ({"share": float("nan")}, "must be a finite number; got nan"),
        ({"share": "1e999"}, "must be a finite number"),
        ({"share": 10**400}, "must be smaller than"),
        ({"count": 2**63}, "must be smaller than"),
        ({"count": 16**5000}, "must be smaller than 2.63; got <int>"),
        ({"lengths": [2**70]}, "must be smaller than"),
        ({"name": "\ud800"}, "half a character"),
        ({"name": [["x"] * 1000] * 1000}, "must be a text; got"),
        ({3: 4}, "unknown field in here: '3'"),
    ],
)
def test_values_that_nothing_can_be_done_with_are_one_short_line(values: dict[Any, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        checked(Settings, values, "here")
    assert len(str(caught.value)) < 400


def test_values_of_their_type_are_kept() -> None:
    values = {"count": -(2**63) + 1, "share": 1, "lengths": 5, "table": {"a": 1}}
    assert checked(Settings, values, "here") == {**values, "share": 1.0, "lengths": (5,)}
    assert assignments(["share=1e-3", "name="]) == {"share": "1e-3", "name": ""}


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(UserError, match=r"cannot read task file .*a\.yaml': it is a pipe"):
        from_yaml(tmp_path / "a.yaml", "task file")
    with pytest.raises(UserError, match="cannot read task file"):
        from_yaml(Path("x" * 5000), "task file")


def test_what_is_given_is_shown_short_and_without_control_characters() -> None:
    assert shown("a\x1b[31m") == r"'a\x1b[31m'"
    assert len(shown("x" * 10**6)) <= 200
    assert shown(16**5000) == "<int>"
    assert harmless("a\x1b[2J\nb\u202e\ud800\r") == "a\\x1b[2J\nb\\u202e\\ud800\\r"
