"""What can be measured, by name; and how a task is read from YAML."""

import re
import types
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.tasks.base import Task
from ssmax_eval.tasks.dense import NiahDense
from ssmax_eval.tasks.key_attention import KeyAttention
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import Niah

__all__ = ["TASKS", "TASK_DIR", "Task", "built", "checked", "from_yaml", "load", "overridden", "settings"]

TASKS: dict[str, type[Task]] = {
    "niah": Niah,
    "niah_dense": NiahDense,
    "loss": Loss,
    "key_attention": KeyAttention,
}

_HERE = Path(__file__).parent
TASK_DIR = _HERE / "settings" if (_HERE / "settings").is_dir() else _HERE.parents[1] / "tasks"
"""The folder of YAML files: within the package where it is installed, beside it in a checkout."""


T = TypeVar("T")

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""A number that YAML 1.1 takes for text, such as 1e-3."""


def settings() -> dict[str, Path]:
    """The shipped YAML files by name."""
    return {path.stem: path for path in sorted(TASK_DIR.glob("*.yaml"))}


def load(name: str) -> Task:
    """A task from the name of a shipped YAML file, or the path of one's own. UserError says what is wrong in it."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else settings().get(name)
    if path is None:
        raise unknown("task", name, settings())
    content = from_yaml(path, "task file")
    if not isinstance(content, dict) or "task" not in content:
        raise UserError(f"{str(path)!r} must be a mapping with a 'task' (one of: {', '.join(TASKS)})")
    kind = content.pop("task")
    if kind not in TASKS:
        raise unknown("task", str(kind), TASKS)
    return built(TASKS[kind], checked(TASKS[kind], content, str(path)), str(path))


def from_yaml(path: Path, what: str) -> Any:
    """What a YAML file holds; UserError, naming `what` it is, where it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {what} {str(path)!r}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} is not readable as YAML: {' '.join(str(error).split())}") from None


def overridden(task: Task, changes: dict[str, Any]) -> Task:
    """The task with some fields changed; UserError for an unknown field or a value of the wrong type."""
    return replace(task, **checked(type(task), changes, f"task {task.kind!r}"))


def built(cls: type[T], values: dict[str, Any], where: str) -> T:
    """The dataclass of checked values; UserError where one without a default is not there."""
    dataclass: Any = cls
    needed = [f.name for f in fields(dataclass) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise UserError(f"{where} lacks {missing[0]!r}")
    return cls(**values)


def checked(cls: type[Any], content: dict[str, Any], where: str) -> dict[str, Any]:
    """Values for fields of a dataclass, as YAML gave them; UserError for an unknown field or one of the wrong type."""
    hints = get_type_hints(cls)
    known = {f.name: hints[f.name] for f in fields(cls)}
    for name in content:
        if name not in known:
            raise unknown(f"field in {where}:", str(name), known)
    return {name: _converted(name, value, known[name], where) for name, value in content.items()}


def _converted(name: str, value: Any, hint: Any, where: str) -> Any:
    if get_origin(hint) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_converted(name, item, get_args(hint)[0], where) for item in items)
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
            return float(value)
    raise UserError(f"{name!r} in {where} is {value!r}, which is no {' or '.join(k.__name__ for k in kinds)}")
