"""The code of a user's own attention is carried whole, wherever its modules lie, and its originals stay imported."""

import sys
from pathlib import Path

import pytest

from ssmax_eval.attention import Attention, Softmax
from ssmax_eval.checkpoint.own_code import own_code
from ssmax_eval.errors import UserError
from ssmax_eval.user_code import digest, load_class

MINE = """
from dataclasses import dataclass

from ssmax_eval.attention import Attention, masked_softmax
from {helper} import factor


@dataclass(frozen=True)
class Mine(Attention):
    def weights(self, rows):
        return masked_softmax(factor() * rows.scores, rows.visible)
"""
HELPER = "def factor():\n    return 2.0\n"


def laid_out(root: Path, file: str, helper: str) -> Path:
    """Write the class and its helper, and make packages of the folders named `pack`."""
    module = ".".join(Path(helper).with_suffix("").parts).removeprefix("lib.")
    for name, content in ((file, MINE.format(helper=module)), (helper, HELPER)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if path.parent.name == "pack":
            (path.parent / "__init__.py").touch()
    return root / file


@pytest.mark.parametrize(
    ("file", "helper", "expected"),
    [
        ("flat_a.py", "helper_a.py", {"flat_a.py", "helper_a.py"}),
        ("flat_b.py", "folder_b/helper.py", {"flat_b.py", "folder_b/helper.py"}),
        ("flat_c.py", "pack/helper.py", {"flat_c.py", "pack/__init__.py", "pack/helper.py"}),
        ("pack/inside_d.py", "pack/helper.py", {"inside_d.py", "pack/__init__.py", "pack/helper.py"}),
        ("flat_e.py", "lib/helper_e.py", {"flat_e.py", "helper_e.py"}),
    ],
)
@pytest.mark.parametrize("as_module", [False, True])
def test_every_module_is_where_its_import_finds_it(
    file: str, helper: str, expected: set[str], as_module: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = laid_out(tmp_path / "source", file, helper)
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path / "source")
    monkeypatch.syspath_prepend(tmp_path / "source" / "lib")
    place = file.removesuffix(".py").replace("/", ".") if as_module else str(path)
    cls = load_class(f"{place}:Mine", Attention, "--attention")
    code = own_code(cls)
    assert code is not None
    assert set(code.files) == expected
    assert code.name == f"{path.name}:Mine"
    assert digest(cls) == code.digest
    code.write(tmp_path / "copy")
    assert (tmp_path / "copy" / path.name).read_bytes() == path.read_bytes()


def test_code_that_reads_what_is_not_carried_is_refused(tmp_path: Path) -> None:
    path = laid_out(tmp_path, "reads.py", "helper_r.py")
    (tmp_path / "table.json").write_text("[1]")
    path.write_text(path.read_text() + "\nopen(__file__.replace('reads.py', 'table.json')).close()\n")
    cls = load_class(f"{path}:Mine", Attention, "--attention")
    with pytest.raises(UserError, match="a checkpoint cannot carry the code of 'Mine'"):
        own_code(cls)


def test_another_file_of_the_same_name_is_not_overwritten(tmp_path: Path) -> None:
    cls = load_class(f"{laid_out(tmp_path, 'same.py', 'helper_s.py')}:Mine", Attention, "--attention")
    code = own_code(cls)
    assert code is not None
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "helper_s.py").write_text("# the model's\n")
    with pytest.raises(UserError, match=r"holds another 'helper_s\.py' already"):
        code.write(tmp_path / "out")


def test_an_attention_of_the_package_carries_no_code() -> None:
    assert own_code(Softmax) is None
