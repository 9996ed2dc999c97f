"""What there is, by name: the list, its fields, and the page made of them."""

import re
from dataclasses import MISSING, fields
from typing import Any

import pytest

from ssmax_eval import ATTENTIONS
from ssmax_eval.cli.task_fields import task_fields
from ssmax_eval.tasks import TASKS
from tests.cli.task_page import DOCUMENT, page
from tests.cli.typed import answer, call


@pytest.mark.parametrize("kind", TASKS)
def test_the_fields_read_from_the_source_are_those_of_the_class(kind: str) -> None:
    cls: Any = TASKS[kind]
    found = {field.name: field for field in task_fields(kind)}
    real = {field.name: field for field in fields(cls)}
    assert list(found) == list(real)
    for name, field in real.items():
        assert found[name].grid == bool(field.metadata.get("grid")), name
        assert found[name].needed == (field.default is MISSING), name
        assert found[name].needed or found[name].default == field.default, name
        assert found[name].about.endswith("."), name


def test_the_page_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == page(), "write it again: python -m tests.cli.task_page"


def test_the_list_with_every_field() -> None:
    short, long = call("list").stdout, call("list", "--verbose").stdout
    assert long.startswith(short)
    for kind in TASKS:
        for field in task_fields(kind):
            assert f"  {field.name}{' *' * field.grid} ({field.takes}; {field.usual})\n" in long
    assert "Fields of" not in short


def test_the_list_as_json() -> None:
    there = answer("list")
    assert set(there) == {"checkpoints", "attentions", "positions", "tasks", "fields", "suites", "recipes"}
    assert list(there["attentions"]) == [*ATTENTIONS, "auto", "none"]
    assert "none   the model as it is, not rewritten" in re.sub(" {4,}", "   ", call("list").stdout)
    assert there["tasks"]["niah_demo"]["kind"] == "niah"
    assert there["tasks"]["niah_demo"]["settings"]["digits"] == 5
    (trials,) = (field for field in there["fields"]["niah"] if field["name"] == "trials")
    assert trials == {
        "name": "trials", "takes": "whole number", "default": 5, "needed": False, "grid": True,
        "about": "Repetitions of each length and depth, each with a filler, city and number of its own.",
    }  # fmt: skip
    assert there["recipes"]["cpu"]["layers"] == 2
    assert "smollm2-135m" in there["checkpoints"]


def test_the_list_shows_suites() -> None:
    assert "  ruler  13 tasks: retrieval, tracing, aggregation, question answering\n" in call("list").stdout
    suite = answer("list")["suites"]["ruler"]
    assert suite["threshold"] == 0.856
    assert suite["tasks"]["tracing"] == ["ruler_vt"]
