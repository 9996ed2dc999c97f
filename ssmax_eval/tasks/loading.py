"""A task from its name, from a YAML file, or from a class of the user's own."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from ssmax_eval import suites
from ssmax_eval.errors import UserError, unknown
from ssmax_eval.settings import built, checked, from_yaml, shipped
from ssmax_eval.tasks.base import RESERVED, Task
from ssmax_eval.tasks.catalogue import TASKS
from ssmax_eval.user_code import load_class


class Draft(NamedTuple):
    """A task before its last settings: a class need not have a default for each field."""

    cls: type[Task]
    values: dict[str, Any]
    """Fields that are set already."""
    where: str
    """Where they come from, for messages."""

    @property
    def names(self) -> set[str]:
        """The names of the task's fields."""
        return {f.name for f in fields(self.cls)}

    def build(self, changes: Mapping[str, Any] | None = None) -> Task:
        """Return the task with some fields changed. UserError for a wrong value, or a field without any."""
        changed = checked(self.cls, dict(changes or {}), f"task {self.cls.kind!r}")
        return built(self.cls, {**self.values, **changed}, self.where)


def settings() -> dict[str, Path]:
    """Return the shipped YAML files by name."""
    return shipped("tasks", "tasks")


def draft(given: str | Task | type[Task] | Draft) -> Draft:
    """Return the beginnings of a task.

    `given` is the name of a shipped YAML file, the path of a YAML file, a class as `my_task.py:Mine` or
    `package.module:Mine`, the class itself, a task, or a draft. UserError says what is wrong with it.
    """
    if isinstance(given, Draft):
        return given
    if isinstance(given, Task):
        values = {f.name: getattr(given, f.name) for f in fields(given)}
        return Draft(type(given), checked(type(given), values, f"task {given.kind!r}"), f"task {given.kind!r}")
    if isinstance(given, type):
        return Draft(_usable(given), {}, repr(given.__name__))
    if given.endswith((".yaml", ".yml")):
        return _from_file(Path(given))
    if ":" in given:
        return Draft(_usable(load_class(given, Task, "--task")), {}, repr(given))
    if given in suites.files():
        raise UserError(f"{given!r} is a suite of tasks, not one; it takes no fields of its own")
    if given not in settings():
        raise unknown("task", given, {**settings(), **suites.files()})
    return _from_file(settings()[given])


def load(given: str | Task | type[Task], changes: Mapping[str, Any] | None = None) -> Task:
    """Return a task, with some fields changed; see `draft` for what may be given."""
    return draft(given).build(changes)


def overridden(task: Task, changes: Mapping[str, Any]) -> Task:
    """Return the task with some fields changed. UserError for an unknown field or a value of the wrong type."""
    return draft(task).build(changes)


def _from_file(path: Path) -> Draft:
    content = from_yaml(path, "task file")
    if isinstance(content, dict) and "suite" in content:
        raise UserError(f"{str(path)!r} is a suite of tasks, not one; it takes no fields of its own")
    if not isinstance(content, dict) or not isinstance(content.get("task"), str):
        raise UserError(
            f"{str(path)!r} must be a mapping with a 'task' (one of: {', '.join(TASKS)}, or my_task.py:Mine)"
        )
    kind = content.pop("task")
    if ":" in kind:
        file, _, name = kind.rpartition(":")
        place = f"{path.parent / file}:{name}" if file.endswith(".py") else kind
        cls = _usable(load_class(place, Task, f"the task of {str(path)!r}"))
    elif kind in TASKS:
        cls = TASKS[kind]
    else:
        raise unknown("task", kind, TASKS)
    return Draft(cls, checked(cls, content, str(path)), str(path))


def _usable(cls: type[Task]) -> type[Task]:
    """The class, once it is sure that tasks can be made of it."""
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise UserError(f"task {cls.__qualname__!r} must define {' and '.join(missing)}")
    if taken := sorted({f.name for f in fields(cls)} & RESERVED):
        raise UserError(f"task {cls.__qualname__!r} must not name a field {taken[0]!r}, which says what a task is")
    return cls
