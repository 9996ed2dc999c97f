"""An import may only point down; and the light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ssmax_eval

ROOT = Path(ssmax_eval.__file__).parent
LAYERS = [
    {"errors"},
    {"measurement", "memory", "catalogue", "files", "limits", "user_code"},
    {"attention", "store", "corpus", "settings"},
    {"suites", "positions"},
    {"report", "checkpoint"},
    {"rewriting"},
    {"model"},
    {"vllm"},
    {"tasks"},
    {"run", "train"},
    {"extend"},
    {"cli"},
    {"__main__"},
]
"""From the bottom up: a room may import those below it, and none beside it."""
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
MAY_KNOW = {
    "torch": {
        "memory",
        "attention",
        "positions",
        "checkpoint",
        "rewriting",
        "model",
        "vllm",
        "tasks",
        "run",
        "train",
    },
    "transformers": {"checkpoint", "rewriting", "model", "vllm", "run", "train", "cli"},
    "vllm": {"vllm"},
    "lm_eval": {"model", "tasks"},
    "pandas": {"report", "store", "extend"},
    "click": {"cli"},
}
"""What only some rooms may import."""
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, and whether only for type checking."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in typing_only) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{a.name}" for a in node.names if node.module == "ssmax_eval"]
            found += [(name, id(node) in typing_only) for name in names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    for module, typing_only in imports(path):
        first, *rest = module.split(".")
        if first == "ssmax_eval" and rest and rest[0] in LEVEL and rest[0] != room and not typing_only:
            assert LEVEL[rest[0]] < LEVEL[room], f"{room} imports {module}"
        if first in MAY_KNOW and not typing_only:
            assert room in MAY_KNOW[first], f"{room} imports {module}"
        assert first not in ("study", "benchmarks", "tests"), f"{room} imports {module}"


def test_every_room_has_its_level() -> None:
    assert {room_of(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_passes_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    "code",
    [
        "import ssmax_eval",
        "from ssmax_eval.cli.main import main; main(['--help'], standalone_mode=False)",
        "from ssmax_eval.cli.main import main; main(['run', '--help'], standalone_mode=False)",
        "from ssmax_eval.cli.main import main; main(['list', '--verbose'], standalone_mode=False)",
        "import ssmax_eval; ssmax_eval.read_results; ssmax_eval.write_report",
        "import study",
        "from ssmax_eval import tasks, train; tasks.load; tasks.TASKS.about('niah'); train.recipes()",
    ],
)
def test_light_commands_import_no_torch(code: str) -> None:
    check = f"import sys\n{code}\nassert not {{'torch', 'transformers'}} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL)
