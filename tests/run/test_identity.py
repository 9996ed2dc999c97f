"""What decides a number decides the run: content, settings, versions, and code of the user's own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.attention import Attention, parse
from ssmax_eval.errors import UserError
from ssmax_eval.run.identity import attention_identity, folder_name
from ssmax_eval.tasks import Task, load
from ssmax_eval.user_code import load_class
from tests.run.definitions import RECORD, definitions
from tests.run.own import TASK, TOKENS, write_task

COMMAND = "python -m tests.run.definitions"


@pytest.mark.parametrize("name", sorted(definitions()))
def test_a_definition_that_changed_has_a_new_version(name: str) -> None:
    now, recorded = definitions()[name], json.loads(RECORD.read_text(encoding="utf-8")).get(name)
    if now != recorded:
        pytest.fail(
            f"the source of {name} is not the recorded one. If a number of it changed, raise its `version`; "
            f"then, and also if no number changed, record it: {COMMAND}"
        )


def test_the_record_holds_nothing_else() -> None:
    assert json.loads(RECORD.read_text(encoding="utf-8")).keys() == definitions().keys()


def described(**columns: str) -> dict[str, Any]:
    plain = {"checkpoint": "ssmax-seed0", "attention": "ssmax:s=table", "task": "niah", "rope": ""}
    return {"columns": {**plain, **columns}, "identity": {"a": 1, "b": [2.5]}}


def test_a_folder_name_says_what_the_run_is() -> None:
    name = folder_name(described())
    assert re.fullmatch(r"ssmax-seed0_ssmax-s-table_niah_[0-9a-f]{10}", name)
    assert folder_name(json.loads(json.dumps(described()))) == name
    assert folder_name({"identity": {"b": [2.5], "a": 1}, "columns": described()["columns"]}) == name
    assert folder_name(described(rope="base x50")).startswith("ssmax-seed0_ssmax-s-table_niah_rope-base-x50_")
    long = folder_name(described(checkpoint="c" * 300, attention="s:" + "9," * 200, task="t" * 300, rope="r" * 300))
    assert len(long) < 256
    assert folder_name(described(checkpoint="../..", attention="a/b=c")).startswith("-_a-b-c_niah_")


def test_versions_and_names_are_in_the_identity() -> None:
    found = attention_identity(parse("lssar:p=3"))
    assert (found["name"], found["version"], found["p"]) == ("lssar", 1, 3.0)
    assert "code" not in found
    assert load("loss").identity()["version"] == type(load("loss")).version == 2


def own(path: Path) -> Task:
    return load(f"{path}:CopyingText", {"lengths": [32]})


def test_code_of_ones_own_is_identified_by_all_that_it_is_made_of(tmp_path: Path) -> None:
    path = write_task(tmp_path / "a")
    task = own(path)
    before = task.identity()
    assert own(path).identity() == before
    assert own(write_task(tmp_path / "b")).identity() == before
    path.write_text(TASK + "\nUNUSED = 1\n")
    assert own(path).identity() != before
    with pytest.raises(UserError, match="has changed since it was imported"):
        task.identity()
    path.write_text(TASK)
    assert own(path).identity() == before


def test_a_helper_that_changes_is_read_again_and_makes_another_run(tmp_path: Path) -> None:
    path = write_task(tmp_path)
    before = own(path).identity()
    (tmp_path / "tokens.py").write_text(TOKENS.replace("BELOW = 500", "BELOW = 400"))
    after = own(path)
    assert after.identity()["code"] != before["code"]
    drawn = type(after).bind.__globals__["drawn"]
    assert max(drawn(0, 0, 500)) < 400


ATTENTION = """
from dataclasses import dataclass
from torch import Tensor
from ssmax_eval.attention import SSMax
from pack.base import Between
FACTOR = 0.5
@dataclass(frozen=True)
class Mine(Between):
    pass
"""


def test_an_attention_of_ones_own_covers_packages_and_base_classes(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "deep.py").write_text("BASE = 2\n")
    base = "from ssmax_eval.attention import SSMax\nfrom .deep import BASE\nclass Between(SSMax):\n    pass\n"
    (tmp_path / "pack" / "base.py").write_text(base)
    (tmp_path / "mine.py").write_text(ATTENTION)

    def code() -> str:
        cls = load_class(f"{tmp_path}/mine.py:Mine", Attention, "--attention")
        return str(attention_identity(cls())["code"])

    seen = [code()]
    (tmp_path / "mine.py").write_text(ATTENTION.replace("0.5", "0.7"))
    seen.append(code())
    (tmp_path / "pack" / "deep.py").write_text("BASE = 3\n")
    seen.append(code())
    (tmp_path / "pack" / "base.py").write_text(base + "    x = 1\n")
    seen.append(code())
    assert len(set(seen)) == 4
