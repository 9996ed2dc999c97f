"""Suites: tasks that are measured together and summed up in one number for each length.

A suite is a YAML file: its name, its tasks by ability, and the mean that an effective length asks for. Those in
`tasks/suites` are shipped. What its tasks measure is in their own files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ssmax_eval.errors import UserError, shown, unknown
from ssmax_eval.files import expanded
from ssmax_eval.settings import from_yaml, shipped

THRESHOLD = 0.856
"""The mean that an effective length asks for where the file names none: RULER's, of Llama-2-7B at 4K tokens."""
KEYS = ("suite", "title", "threshold", "tasks")
NAME = re.compile(r"[\w.-]{1,60}")
YAML = (".yaml", ".yml")


class Member(NamedTuple):
    """A task of a suite."""

    given: str
    """The name of a shipped task, or the path of a YAML file: what `--task` takes."""
    name: str
    """What it is called in results: its preset, or else its kind."""


@dataclass(frozen=True)
class Suite:
    """Tasks that are measured and reported together."""

    name: str
    title: str
    """Heading of its section in a report."""
    tasks: Mapping[str, tuple[Member, ...]]
    """Its tasks by the ability that they ask for."""
    threshold: float = THRESHOLD
    """The mean that an effective length asks for."""

    @property
    def members(self) -> tuple[Member, ...]:
        """All its tasks, ability by ability."""
        return tuple(member for members in self.tasks.values() for member in members)


def files() -> dict[str, Path]:
    """Return the shipped files by the names of their suites."""
    return shipped("tasks", "tasks", "suites")


def find(given: str) -> Suite | None:
    """Return the suite of this name, or in this YAML file; None where it is none. UserError for a wrong file."""
    if given.endswith(YAML):
        content = from_yaml(Path(given), "task file")
        own = isinstance(content, dict) and "suite" in content
        return _suite(content, Path(given), own=True) if own else None
    return load(given) if given in files() else None


def is_own(given: str) -> bool:
    """Return whether this is the file of a suite of the user's own."""
    return given.endswith(YAML) and find(given) is not None


def load(given: str) -> Suite:
    """Return the suite of this name, or in this YAML file. UserError where there is none."""
    if not given.endswith(YAML):
        if given not in files():
            raise unknown("suite", given, files())
        return _suite(from_yaml(files()[given], "suite"), files()[given], own=False)
    if (found := find(given)) is None:
        raise UserError(f"{given!r} is no suite: it must have the keys 'suite' and 'tasks'")
    return found


def _suite(content: Any, path: Path, *, own: bool) -> Suite:
    """The suite in a file; one of the user's `own` must not be called as a shipped one or a task is."""
    if not isinstance(content, dict):
        raise UserError(f"{str(path)!r} must be a mapping with a 'suite' and its 'tasks'")
    for key in content:
        if key not in KEYS:
            raise unknown(f"key in {str(path)!r}:", key if isinstance(key, str) else shown(key), KEYS)
    name, threshold = content["suite"], content.get("threshold", THRESHOLD)
    title = content.get("title") or name
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise UserError(f"'suite' in {str(path)!r} must be a name of letters, digits and ._-; got {shown(name)}")
    if own and name in {**files(), **shipped("tasks", "tasks")}:
        raise UserError(f"{str(path)!r} calls its suite {name!r}, as a shipped one or a task is; give another name")
    if not isinstance(title, str) or not title.isprintable():
        raise UserError(f"'title' in {str(path)!r} must be a text of one line; got {shown(title)}")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise UserError(f"'threshold' in {str(path)!r} must be above 0 and at most 1; got {shown(threshold)}")
    return Suite(name, title, _tasks(content.get("tasks"), path), float(threshold))


def _tasks(given: Any, path: Path) -> dict[str, tuple[Member, ...]]:
    """The tasks by ability. UserError for another form, and for two whose results would be called alike."""
    lists = given.values() if isinstance(given, dict) else ()
    texts = [one for some in lists for one in (some if isinstance(some, list) else [None])]
    if not texts or not all(isinstance(one, str) and one for one in [*texts, *given]):
        raise UserError(f"'tasks' in {str(path)!r} must map each ability to a list of tasks; got {shown(given)}")
    tasks = {ability: tuple(_member(one, path) for one in some) for ability, some in given.items()}
    owners: dict[str, str] = {}
    for member in (member for members in tasks.values() for member in members):
        if member.name in owners:
            raise UserError(
                f"{str(path)!r} has two tasks whose results are called {member.name!r}, {owners[member.name]!r} and "
                f"{member.given!r}; give one of them another `preset:`, or name it once"
            )
        owners[member.name] = member.given
    return tasks


def _member(given: str, path: Path) -> Member:
    """A task by its name, or by the path of a YAML file relative to the suite's."""
    if not given.endswith(YAML):
        file = shipped("tasks", "tasks").get(given)
        return Member(given, _called(file) if file else given)
    file = path.parent / expanded(given)
    return Member(str(file), _called(file))


def _called(file: Path) -> str:
    """What the results of a task file are called."""
    content = from_yaml(file, "task file")
    name = (content.get("preset") or content.get("task")) if isinstance(content, dict) else None
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise UserError(f"{str(file)!r} needs a `preset:`, a name for its results, to be a task of a suite")
    return name
