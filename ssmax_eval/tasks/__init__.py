"""What can be measured: the catalogue of tasks, and how one is read from a name, a YAML file or a class.

`TASKS` and `Task` import no torch; a task's own file may, and is imported when its class is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssmax_eval.tasks.catalogue import TASKS

if TYPE_CHECKING:
    from ssmax_eval.tasks.base import Measure, Task, grid
    from ssmax_eval.tasks.loading import Draft, draft, load, overridden, settings

_HOMES = {
    "Draft": "loading",
    "Measure": "base",
    "Task": "base",
    "draft": "loading",
    "grid": "base",
    "load": "loading",
    "overridden": "loading",
    "settings": "loading",
}

__all__ = ["TASKS", "Draft", "Measure", "Task", "draft", "grid", "load", "overridden", "settings"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
