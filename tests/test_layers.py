"""An import may only point down; and the light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ssmax_eval

ROOT = Path(ssmax_eval.__file__).parent
LAYERS = [
    {"errors", "measurement"},
    {"store", "options", "memory"},
    {"attention"},
    {"loader", "corpus"},
    {"tasks"},
    {"runner", "estimate", "report"},
    {"session", "trial", "bench", "train", "claims"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
APART = {frozenset({"runner", "report"})}
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
        parts = module.split(".")
        if parts[0] == "ssmax_eval" and len(parts) > 1 and parts[1] in LEVEL and parts[1] != room and not typing_only:
            assert LEVEL[parts[1]] < LEVEL[room] or parts[1] == "session", f"{room} imports {module}"
            assert frozenset({room, parts[1]}) not in APART
    allowed = {"loader", "runner", "estimate", "session", "trial", "train", "cli"}
    if room not in allowed:
        assert not any(module.split(".")[0] == "transformers" for module, _ in imports(path))


def test_every_room_has_its_level() -> None:
    assert {room_of(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_passes_300_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


@pytest.mark.parametrize(
    "code",
    [
        "import ssmax_eval",
        "from ssmax_eval.cli import main; main(['--help'], standalone_mode=False)",
        "from ssmax_eval.cli import main; main(['run', '--help'], standalone_mode=False)",
        "import ssmax_eval; ssmax_eval.read_results; ssmax_eval.write_report",
        "import ssmax_eval.claims",
    ],
)
def test_light_commands_import_no_torch(code: str) -> None:
    check = f"import sys\n{code}\nassert not {{'torch', 'transformers'}} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", check], check=True, stdout=subprocess.DEVNULL)
