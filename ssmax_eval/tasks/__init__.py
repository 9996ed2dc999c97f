"""What can be measured, by name; and how a task is read from YAML."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.settings import built, checked, from_yaml
from ssmax_eval.tasks.base import Task
from ssmax_eval.tasks.dense import NiahDense
from ssmax_eval.tasks.key_attention import KeyAttention
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import Niah

__all__ = ["TASKS", "TASK_DIR", "Task", "load", "overridden", "settings"]

TASKS: dict[str, type[Task]] = {
    "niah": Niah,
    "niah_dense": NiahDense,
    "loss": Loss,
    "key_attention": KeyAttention,
}

_HERE = Path(__file__).parent
TASK_DIR = _HERE / "settings" if (_HERE / "settings").is_dir() else _HERE.parents[1] / "tasks"
"""The folder of YAML files: within the package where it is installed, beside it in a checkout."""


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


def overridden(task: Task, changes: dict[str, Any]) -> Task:
    """The task with some fields changed; UserError for an unknown field or a value of the wrong type."""
    return replace(task, **checked(type(task), changes, f"task {task.kind!r}"))
