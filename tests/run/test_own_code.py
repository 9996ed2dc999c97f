"""Code of the user's own: whatever it is made of, a change of it is another run."""

import sys
from pathlib import Path

import pytest

from ssmax_eval.attention import Attention
from ssmax_eval.run.identity import attention_identity
from ssmax_eval.user_code import load_class

HEAD = """
from dataclasses import dataclass
from ssmax_eval.attention import Attention
from ssmax_eval.attention.functions import masked_softmax
{at_the_top}
@dataclass(frozen=True)
class Mine(Attention):
    def weights(self, rows):
        {inside}
        return masked_softmax(F * rows.scores, rows.visible)
"""
WAYS = {
    "at the top": ("from helper import F", "pass", "mine.py", "helper.py"),
    "inside a function": ("", "from helper import F", "mine.py", "helper.py"),
    "a module in a package": ("import pack.helper; F = pack.helper.F", "pass", "mine.py", "pack/helper.py"),
    "in a branch": ("if True:\n    from helper import *", "pass", "mine.py", "helper.py"),
    "by its name": ("from importlib import import_module", "F = import_module('helper').F", "mine.py", "helper.py"),
    "through another": ("from between import F", "pass", "mine.py", "helper.py"),
    "a file of data": (
        "from pathlib import Path\nF = float(Path(__file__).with_name('factor.txt').read_text()[4:])",
        "pass",
        "mine.py",
        "factor.txt",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_change_of_a_helper_is_another_run(tmp_path: Path, way: str) -> None:
    top, inside, main, helper = WAYS[way]
    for path in (main, helper):
        (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / "between.py").write_text("from helper import F\n")
    (tmp_path / main).write_text(HEAD.format(at_the_top=top, inside=inside))

    def code(value: int) -> str:
        (tmp_path / helper).write_text(f"F = {value}\n")
        return str(attention_identity(load_class(f"{tmp_path / main}:Mine", Attention, "--attention")())["code"])

    assert code(2) == code(2) != code(3)


def test_a_relative_import_is_covered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "own_package_of_relatives"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(HEAD.format(at_the_top="", inside="from .helper import F"))
    monkeypatch.syspath_prepend(str(tmp_path))
    from ssmax_eval.user_code import local_files

    (package / "helper.py").write_text("F = 2")
    assert (package / "helper.py").resolve() in local_files(package / "mine.py")
    cls = load_class("own_package_of_relatives.mine:Mine", Attention, "--attention")
    assert attention_identity(cls())["code"]


def test_packages_of_one_name_in_two_folders_do_not_meet(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "twice").mkdir(parents=True)
        (folder / "mine.py").write_text(HEAD.format(at_the_top="from twice.helper import F", inside="pass"))
    (first / "twice" / "__init__.py").write_text("")
    codes = []
    for number, folder in enumerate((first, second)):
        (folder / "twice" / "helper.py").write_text(f"F = {number}\n")
        cls = load_class(f"{folder / 'mine.py'}:Mine", Attention, "--attention")
        assert number == vars(sys.modules[cls.__module__])["F"]
        codes.append(attention_identity(cls())["code"])
    assert len(set(codes)) == 2
