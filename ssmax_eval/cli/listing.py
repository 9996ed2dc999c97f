"""`ssmax-eval list`: from catalogues, sources and YAML files alone, so that it answers at once."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ssmax_eval.cli.machine import json_option, print_json
from ssmax_eval.cli.table import aligned

if TYPE_CHECKING:
    from ssmax_eval.cli.task_fields import TaskField
    from ssmax_eval.suites import Suite


NOT_ONE = {"auto": "the attention that the checkpoint was trained with", "none": "the model as it is, not rewritten"}
"""Values of --attention that are no attention of their own."""


@click.command("list")
@click.option("--verbose", is_flag=True, help="Show every field of every task too, with its default.")
@json_option
def list_(verbose: bool, as_json: bool) -> None:
    """List the checkpoints, attentions, position maps, tasks, suites and recipes there are.

    \b
    Examples:
      ssmax-eval list
      ssmax-eval list --verbose
      ssmax-eval list --json
    """
    there = _there()
    if as_json:
        fields = {kind: [field._asdict() for field in some] for kind, some in there.fields.items()}
        print_json({**there._asdict(), "fields": fields})
        return
    checkpoints = {name: f"from the Python package {one['package']}" for name, one in there.checkpoints.items()}
    _table("Checkpoints (besides hub ids, folders and .gguf files)", checkpoints)
    attentions = {name: one["about"] for name, one in there.attentions.items()}
    _table("Attentions (--attention NAME:parameter=value,...)", attentions)
    _table(
        "Position maps (--position NAME:parameter=value,...)", {n: one["about"] for n, one in there.positions.items()}
    )
    tasks = {name: f"{one['about']}; to {max(one['settings']['lengths'])} tokens" for name, one in there.tasks.items()}
    _table("Tasks (--task NAME, or a YAML file of your own)", tasks)
    suites = {name: _suite(one["tasks"]) for name, one in there.suites.items()}
    _table("Suites of tasks (--suite NAME, or a YAML file of your own)", suites)
    recipes = {name: _recipe(content) for name, content in there.recipes.items()}
    _table("Recipes (ssmax-eval train NAME, or a YAML file of your own)", recipes)
    if verbose:
        for kind, some in there.fields.items():
            click.echo(_fields(kind, some) + "\n")


class There(NamedTuple):
    """All that has a name. The names of the entries are those of `--json`."""

    checkpoints: dict[str, dict[str, Any]]
    attentions: dict[str, dict[str, Any]]
    positions: dict[str, dict[str, Any]]
    tasks: dict[str, dict[str, Any]]
    """By the name of the YAML file: the kind of task, what it is, and what the file sets."""
    fields: "dict[str, list[TaskField]]"
    """By the kind of task."""
    suites: dict[str, dict[str, Any]]
    """By name: the title, the threshold, and the tasks by ability."""
    recipes: dict[str, dict[str, Any]]


def _there() -> There:
    from ssmax_eval.attention import ATTENTIONS
    from ssmax_eval.checkpoint import PACKAGED
    from ssmax_eval.cli.task_fields import task_fields
    from ssmax_eval.positions import POSITIONS
    from ssmax_eval.settings import from_yaml, shipped
    from ssmax_eval.suites import files, load
    from ssmax_eval.tasks import TASKS

    files_of_tasks = shipped("tasks", "tasks")
    tasks = {name: from_yaml(path, "task file") for name, path in files_of_tasks.items()}
    return There(
        {name: {"package": package, "install": install} for name, (package, install) in PACKAGED.items()},
        {name: {"about": about} for name, about in ({n: ATTENTIONS.about(n) for n in ATTENTIONS} | NOT_ONE).items()},
        {name: {"about": POSITIONS.about(name)} for name in POSITIONS},
        {
            name: {
                "kind": (kind := content.pop("task")),
                "about": _said_of(files_of_tasks[name]) if "preset" in content else TASKS.about(kind),
                "settings": content,
            }
            for name, content in tasks.items()
        },
        {kind: task_fields(kind) for kind in TASKS},
        {name: _plain_suite(load(name)) for name in files()},
        {name: from_yaml(path, "recipe") for name, path in shipped("train", "recipes").items()},
    )


def _said_of(path: Path) -> str:
    """The sentence that a preset's file begins with."""
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").rstrip(".")


def _plain_suite(suite: "Suite") -> dict[str, Any]:
    tasks = {ability: [member.given for member in members] for ability, members in suite.tasks.items()}
    return {"title": suite.title, "threshold": suite.threshold, "tasks": tasks}


def _suite(tasks: dict[str, list[str]]) -> str:
    return f"{sum(map(len, tasks.values()))} tasks: {', '.join(tasks)}"


def _recipe(content: dict[str, Any]) -> str:
    shape = f"{content['layers']} layers of width {content['width']}"
    return f"{shape}, {content['train_length']} tokens, {content['steps']} steps"


def _fields(kind: str, fields: "list[TaskField]") -> str:
    lines = [f"Fields of {kind} (--set FIELD=VALUE, or a line of its YAML file; * decides which cells there are)"]
    for field in fields:
        lines += [f"  {field.name}{' *' * field.grid} ({field.takes}; {field.usual})", f"      {field.about}"]
    return "\n".join(lines)


def _table(title: str, rows: dict[str, str]) -> None:
    click.echo(f"{title}\n{aligned(list(rows.items()), '  ')}\n")
