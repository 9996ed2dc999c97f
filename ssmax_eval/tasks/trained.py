"""The words of the needles that a checkpoint was trained on here, and the options that ask in those words."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ssmax_eval.tasks.base import Task
from ssmax_eval.tasks.catalogue import TASKS
from ssmax_eval.tasks.loading import load, settings

RECORD = "training.json"
"""In the folder of a checkpoint: its training, with the recipe."""
WORDS = ("intro", "needle", "question", "answer_prefix", "digits")
"""Fields of a recipe, and of a task with needles, that say what is to be found and how it is asked for."""


def words_of(folder: Path) -> dict[str, Any]:
    """Return the words that a checkpoint was trained on; none where it was trained elsewhere, or without needles."""
    try:
        recipe = json.loads((folder / RECORD).read_text(encoding="utf-8"))["recipe"]
        return {name: recipe[name] for name in WORDS} if recipe["needle_sequences"] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def options_for(words: Mapping[str, Any], classes: Sequence[type[Task]] | None = None) -> str:
    """Return the options of `ssmax-eval run` that ask in these words: shipped tasks, else every field.

    `classes` limits the shipped tasks to those of some classes, each of which must have one.
    """
    shipped = sorted(((name, load(name)) for name in settings()), key=lambda pair: list(TASKS).index(pair[1].kind))
    fitting = {name: type(task) for name, task in shipped if _asks(task) == dict(words)}
    chosen = [name for name, cls in fitting.items() if classes is None or cls in classes]
    if chosen and set(classes or ()) <= set(fitting.values()):
        return f"--task {','.join(chosen)}"
    kinds = f"--task {','.join(cls.kind for cls in classes)} " if classes else ""
    return kinds + " ".join(f"--set {shlex.quote(f'{name}={value}')}" for name, value in words.items())


def advice(name: str, label: str, folder: Path, tasks: Sequence[Task]) -> str | None:
    """Return a line that says that tasks ask in words that a checkpoint was not trained on, and what would not.

    None where all is well. Its needles would hardly be found, which says nothing of its attention.
    """
    words = words_of(folder)
    other = list(dict.fromkeys(type(task) for task in tasks if words and _asks(task) not in ({}, words)))
    if not other:
        return None
    kinds = " and ".join(cls.kind for cls in other)
    command = f"ssmax-eval run {shlex.quote(name)} {options_for(words, other)}"
    return f"{label} was trained on needles of other words than those of {kinds}, and may find none; try: {command}"


def _asks(task: Task) -> dict[str, Any]:
    """The words of a task; none for a task without needles."""
    names = {f.name for f in fields(task)}
    return {name: getattr(task, name) for name in WORDS} if names.issuperset(WORDS) else {}
