"""Private names of lm-evaluation-harness (0.4.13), all in this file: what they are for, and nothing else."""

import copy
from collections.abc import Sequence
from typing import Any


def own_config(task: Any) -> None:
    """Give a task a configuration of its own, which may be changed without changing other tasks'."""
    task._config = copy.copy(task.config)


def keep_requests(task: Any, requests: Sequence[Any]) -> None:
    """Put requests in the place of those that a task has made."""
    task._instances = requests


def filter_names(task: Any) -> list[str]:
    """Return the names of the filters that a task's answers go through."""
    return [one.name for one in task._filters]
