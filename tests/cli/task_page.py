"""docs/tasks.md: every task, each of its fields, and what the shipped YAML files set.

`python -m tests.cli.task_page` writes it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from ssmax_eval.cli.task_fields import TaskField, task_about, task_fields
from ssmax_eval.settings import from_yaml, shipped
from ssmax_eval.tasks import TASKS

DOCUMENT = Path(__file__).parents[2] / "docs" / "tasks.md"
HEAD = """# Tasks and their fields

Written by `python -m tests.cli.task_page` from the source; `ssmax-eval list --verbose` prints the same.

Any field can be set on the command line (`--set FIELD=VALUE`), in a YAML file of your own (`--task mine.yaml`), in an
experiment (`set:` in the file of `--config`, see [scripts.md](scripts.md)), and from Python (`settings={...}`). Some
have an option of their own: `--lengths`, `--depths`, `--trials`, `--documents`, `--text`, `--seed`,
`--no-chat-template`.

A field marked * only decides which cells there are: with another value, what is measured is kept, and what is missing
is measured. Any other change is another run.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(line for kind in TASKS for line in _task(kind))])


def _task(kind: str) -> Iterator[str]:
    yield f"## {kind}\n"
    yield f"{task_about(kind)}\n"
    yield "| field | takes | default | what it is |"
    yield "|---|---|---|---|"
    yield from map(_row, task_fields(kind))
    files = []
    for name, path in shipped("tasks", "tasks").items():
        content = from_yaml(path, "task file")
        if content.pop("task") == kind:
            sets = "; ".join(f"`{field}: {json.dumps(value)}`" for field, value in content.items())
            files.append(f"| `--task {name}` | {sets} |")
    if files:
        yield "\n| file | sets |"
        yield "|---|---|"
        yield from files
    yield ""


def _row(field: TaskField) -> str:
    default = field.usual if field.needed else f"`{field.usual}`"
    return f"| `{field.name}`{' *' * field.grid} | {field.takes} | {default} | {field.about} |"


if __name__ == "__main__":
    DOCUMENT.write_text(page(), encoding="utf-8")
