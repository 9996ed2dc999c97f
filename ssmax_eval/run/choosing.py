"""Choose the tasks of a command: what a suite stands for, what the command changes, what has to be left out."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ssmax_eval import suites
from ssmax_eval.errors import UserError, unknown
from ssmax_eval.tasks import Draft, Task, draft

Say = Callable[[str], None]
"""Takes a line for a person to read."""

log = logging.getLogger(__name__)

MOST_CELLS = 1_000_000
"""Cells that one run may have: at ten milliseconds a cell, three hours."""
LONGEST = 1 << 30
"""Tokens of the longest context; no model runs so many, and an estimate for more would mean nothing."""


class _Wanted(NamedTuple):
    """A task that was asked for."""

    draft: Draft
    suite: str
    """Name of the suite that stands for it; empty where the task itself was named."""


def choose(
    given: Sequence[str | Task | type[Task] | Draft],
    changes: Mapping[str, Any],
    max_length: int | None = None,
    say: Say = log.info,
) -> list[Task]:
    """Return the tasks with changed fields, each once; a change goes to every task that has the field.

    `given` is as in `ssmax_eval.tasks.draft`, or a suite by its name or file, which stands for its tasks. Lengths
    beyond `max_length` are left out. UserError for a field that no task has and for a wrong value. A task without any
    length left, and one that needs what was not given, are left out where a suite stands for them; else UserError.
    """
    if not given:
        raise UserError("no task is given; --task takes names such as niah,loss")
    wanted = [one for name in given for one in _wanted(name)]
    known = {name for one in wanted for name in one.draft.names}
    for name in changes:
        if name not in known:
            kinds = ", ".join(dict.fromkeys(one.draft.cls.kind for one in wanted))
            raise unknown(f"field of task {kinds}:", name, known)
    chosen: dict[Task, None] = {}
    left: dict[str, list[str]] = {}
    for one in wanted:
        task = one.draft.build({name: value for name, value in changes.items() if name in one.draft.names})
        if why := _impossible(task, max_length):
            if not one.suite:
                raise UserError(why)
            left.setdefault(one.suite, []).append(why)
        else:
            _refuse_too_much(task)
            chosen[task if max_length is None else _shortened(task, max_length, say)] = None
    if not chosen:
        raise UserError(f"no task is left to measure: {'; '.join(why for some in left.values() for why in some)}")
    for suite, some in left.items():
        say(f"left out of {suite}: {'; '.join(some)}")
    return list(chosen)


def _wanted(given: str | Task | type[Task] | Draft) -> list[_Wanted]:
    """The task that was asked for, or those that a suite stands for."""
    suite = suites.find(given) if isinstance(given, str) else None
    if suite is None:
        return [_Wanted(draft(given), "")]
    return [_Wanted(draft(member.given), suite.name) for member in suite.members]


def _impossible(task: Task, longest: int | None) -> str:
    """Say why a task cannot be measured with what was given; "" where it can."""
    if need := task.needs():
        return f"task {task.name!r} needs {need}"
    if longest is not None and min(task.lengths) > longest:
        return f"--max-length {longest} leaves no length of task {task.name!r} {list(task.lengths)}"
    return ""


def _refuse_too_much(task: Task) -> None:
    """Raise UserError for a grid that is too large to be written down, before it is."""
    sizes = {name: len(v) if isinstance(v, list) else v for name, v in task.grid_settings().items()}
    counts = {name: size for name, size in sizes.items() if isinstance(size, int) and size > 1}
    if (cells := math.prod(counts.values())) > MOST_CELLS:
        factors = " x ".join(f"{size:,} {name}" for name, size in counts.items())
        raise UserError(f"task {task.name!r} would have {cells:,} cells ({factors}); a run has at most {MOST_CELLS:,}")
    if (longest := max(task.lengths)) > LONGEST:
        raise UserError(f"lengths of task {task.name!r} must be at most {LONGEST:,} tokens; given {longest:,}")


def _shortened(task: Task, longest: int, say: Say) -> Task:
    if left := [n for n in task.lengths if n > longest]:
        say(f"{task.name}: left out beyond --max-length: {', '.join(map(str, left))}")
    return replace(task, lengths=tuple(n for n in task.lengths if n <= longest))
