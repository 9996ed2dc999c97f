"""The fields of every task, read from its source without importing it, since that would import torch."""

import ast
import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ssmax_eval.tasks import TASKS

WORDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "None": "null"}
GRID = "grid"
"""The function that makes a field of the grid."""


class TaskField(NamedTuple):
    """One field of a task."""

    name: str
    takes: str
    """What a value must be, in words."""
    default: Any
    """Its value where none is given; None where one must be."""
    needed: bool
    """Whether a value must be given."""
    grid: bool
    """Whether it only decides which cells there are, so that changing it keeps finished cells."""
    about: str
    """What it is."""

    @property
    def usual(self) -> str:
        """The default as a YAML file would have it."""
        return "must be given" if self.needed else json.dumps(self.default, ensure_ascii=False)


def task_fields(kind: str) -> list[TaskField]:
    """Return the fields of a task of the catalogue, those that all tasks have first."""
    module, _, cls = TASKS.place(kind).partition(":")
    return list(_fields(module, cls).values())


def task_about(kind: str) -> str:
    """Return the docstring of a task's class, as one paragraph a line."""
    module, _, cls = TASKS.place(kind).partition(":")
    paragraphs = (ast.get_docstring(_class(module, cls)) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _fields(module: str, cls: str) -> dict[str, TaskField]:
    """The fields of a class, by name: those of its base classes first, each as it was last declared."""
    node = _class(module, cls)
    found: dict[str, TaskField] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and (place := _home(module, base.id)):
            found |= _fields(*place)
    for line, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and not _class_variable(line):
            about = after.value.value if _is_text(after) else ""  # type: ignore[union-attr]
            name = line.target.id
            found[name] = _field(module, name, line, " ".join(about.split()))
    return found


def _field(module: str, name: str, line: ast.AnnAssign, about: str) -> TaskField:
    value, grid = line.value, False
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == GRID:
        value, grid = (value.args[0] if value.args else None), True
    return TaskField(name, _in_words(line.annotation), _literal(value, module), value is None, grid, about)


def _literal(value: ast.expr | None, module: str) -> Any:
    """A default as a value, also that of a constant of this package; else its source."""
    if isinstance(value, ast.Name) and (place := _home(module, value.id)):
        assigned = (n for n in _tree(place[0]).body if isinstance(n, ast.Assign))
        value = next((n.value for n in assigned if ast.unparse(n.targets[0]) == place[1]), value)
    try:
        return None if value is None else ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value) if value is not None else None


def _in_words(annotation: ast.expr) -> str:
    """What a value must be: `tuple[int, ...]` is "list of whole numbers"."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        return f"list of {_in_words(annotation.slice.elts[0])}s"
    if isinstance(annotation, ast.BinOp):
        return f"{_in_words(annotation.left)} or {_in_words(annotation.right)}"
    text = ast.unparse(annotation)
    return WORDS.get(text, text)


def _class_variable(line: ast.AnnAssign) -> bool:
    return ast.unparse(line.annotation).startswith("ClassVar")


def _is_text(line: ast.stmt | None) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _class(module: str, cls: str) -> ast.ClassDef:
    (node,) = (n for n in _tree(module).body if isinstance(n, ast.ClassDef) and n.name == cls)
    return node


def _home(module: str, name: str) -> tuple[str, str] | None:
    """The module of this package that defines a class or constant which a module names; None for one from elsewhere."""
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, name
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return module, name
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ssmax_eval."):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    return node.module, alias.name
    return None


@lru_cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise AssertionError(f"no source of {module}")
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
