"""`ssmax-eval list`: from catalogues and YAML files alone, so that it answers at once."""

from typing import Any

import click


@click.command("list")
def list_() -> None:
    """List the checkpoints, attentions, tasks and recipes there are.

    Example:  ssmax-eval list
    """
    from ssmax_eval.attention import ATTENTIONS
    from ssmax_eval.checkpoint import PACKAGED
    from ssmax_eval.settings import from_yaml, shipped
    from ssmax_eval.tasks import TASKS

    def task(content: dict[str, Any]) -> str:
        return f"{TASKS.about(content['task'])}; to {max(content['lengths'])} tokens"

    def recipe(content: dict[str, Any]) -> str:
        shape = f"{content['layers']} layers of width {content['width']}"
        return f"{shape}, {content['train_length']} tokens, {content['steps']} steps"

    tasks = {name: from_yaml(path, "task file") for name, path in shipped("tasks", "tasks").items()}
    recipes = {name: from_yaml(path, "recipe") for name, path in shipped("train", "recipes").items()}
    _table(
        "Checkpoints (besides hub ids, folders and .gguf files)",
        {name: f"from the Python package {package}" for name, (package, _) in PACKAGED.items()},
    )
    _table("Attentions (--attention NAME:parameter=value,...)", {name: ATTENTIONS.about(name) for name in ATTENTIONS})
    _table("Tasks (--task NAME, or a YAML file of your own)", {name: task(tasks[name]) for name in tasks})
    _table("Recipes (ssmax-eval train NAME, or a YAML file of your own)", {n: recipe(recipes[n]) for n in recipes})


def _table(title: str, rows: dict[str, str]) -> None:
    width = max(map(len, rows))
    click.echo(f"{title}\n" + "\n".join(f"  {name:<{width}}  {about}" for name, about in rows.items()) + "\n")
