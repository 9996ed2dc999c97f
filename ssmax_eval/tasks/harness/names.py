"""The benchmarks of lm-evaluation-harness by name: its tasks, groups, tags and patterns, and task files.

Importing the harness takes seconds, so that is done when the first benchmark is asked for.
"""

import random
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ssmax_eval.errors import UserError, shown
from ssmax_eval.model.harness import quiet, refuse_without_harness

SEED = 1234
"""What the harness draws with, unless told otherwise."""
NEAR = 3
"""Names that are suggested for one that is not known."""
LONGEST_NAME = 200
"""Characters of a name that a near one is looked for."""


class Asked(NamedTuple):
    """Where benchmarks come from."""

    name: str
    """A task, a group or a tag of the harness, or the path of a task file."""
    include: str = ""
    """Folder with task files of the user's own."""


def matching(names: Sequence[str], include: str = "") -> list[Asked]:
    """Return what was asked for, each pattern by the names that it fits.

    UserError where the harness is not installed, and for a name that it does not know.
    """
    refuse_without_harness()
    if include and not Path(include).is_dir():
        raise UserError(f"--include-path {include!r} is not a folder")
    found = dict.fromkeys(Asked(one, include) for name in names for one in _fitting(name, include))
    return list(found)


class Loaded(NamedTuple):
    """What one name stands for."""

    tasks: Mapping[str, Any]
    """The harness's own tasks, by name."""
    groups: Mapping[str, Any]
    """Its groups of them, by name."""


@lru_cache(maxsize=64)
def loaded(asked: Asked) -> Loaded:
    """Return what one name stands for. UserError where the data cannot be had."""
    refuse_without_harness()
    manager = _manager_for(asked.name, asked.include)
    begin_drawing()
    try:
        with quiet():
            found = manager.load([asked.name])
        return Loaded(found["tasks"], found.get("groups", {}))
    except Exception as error:  # of datasets, the hub, YAML, or the task's own code
        raise UserError(
            f"task {asked.name!r} cannot be loaded: {said(error)}; its data must be on this machine or on a hub that "
            "can be reached; --include-path takes a folder of task files that name local data"
        ) from None


def begin_drawing() -> None:
    """Seed what tasks draw with, as the harness does: some shuffle their documents or their choices."""
    import numpy as np

    random.seed(0)
    np.random.seed(SEED)


def said(error: Exception) -> str:
    """Return what an error of somebody else's code says, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


@lru_cache(maxsize=4)
def _manager(include: str, everything: bool) -> Any:
    """The harness's list of tasks: those of a folder, or `everything` that it ships too, which takes long to read."""
    with quiet():
        from lm_eval.tasks import TaskManager

        return TaskManager(include_path=include or None, include_defaults=everything)


def _manager_for(name: str, include: str) -> Any:
    """The shortest list that has a name, so that a user's own tasks are there at once."""
    own = _manager(include, False)
    return own if Path(name).is_file() or own.match_tasks([name]) else _manager(include, True)


def _fitting(name: str, include: str) -> list[str]:
    """The names that a pattern fits. UserError where there is none."""
    if Path(name).is_file():
        return [name]
    manager = _manager_for(name, include)
    if fitting := sorted(manager.match_tasks([name])):
        return fitting
    near = get_close_matches(name[:LONGEST_NAME], manager.all_tasks, n=NEAR)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`lm-eval ls tasks` lists those there are"
    raise UserError(f"lm-evaluation-harness knows no task {shown(name)}; {hint}")
