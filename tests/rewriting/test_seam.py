"""Private names of transformers are used in one file, and those of lm-evaluation-harness in another."""

import ast
from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

import ssmax_eval
from ssmax_eval.rewriting import seam

ROOT = Path(ssmax_eval.__file__).parent
FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "seam.py")


def private_names(tree: ast.AST) -> set[str]:
    """Names with one underscore that are read of something else than `self`, or imported from another package."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "torch.ops.aten"):
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("ssmax_eval"):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


OWN = {
    node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else node.attr
    for path in FILES
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
    or (isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self")
}
"""Functions, classes and attributes that this package defines itself."""
DOCUMENTED = {"_asdict", "_exit"}
"""Names of Python's own that begin with an underscore and are documented: of a NamedTuple, and of `os`."""


def test_there_are_two_seams() -> None:
    assert {path.parent.name for path in ROOT.rglob("seam.py")} == {"rewriting", "harness"}


def test_the_search_finds_what_the_seam_holds() -> None:
    found = private_names(ast.parse(Path(seam.__file__).read_text(encoding="utf-8")))
    assert {"_global_mapping", "_attn_implementation_internal", "_is_packed_sequence", "_name_or_path"} <= found - OWN


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_private_names_of_others_are_in_the_seam_alone(path: Path) -> None:
    assert private_names(ast.parse(path.read_text(encoding="utf-8"))) - OWN - DOCUMENTED == set()


def test_what_runs_inside_the_block_is_undone(tiny_hf: LlamaForCausalLM) -> None:
    configs = [config for config, _ in seam.implementations(tiny_hf)]
    before = seam.implementations(tiny_hf)
    with pytest.raises(RuntimeError, match="inside"), seam.running(configs, "eager"):
        assert {name for _, name in seam.implementations(tiny_hf)} == {"eager"}
        raise RuntimeError("inside")
    assert seam.implementations(tiny_hf) == before
