"""`ssmax-eval train`."""

from typing import Any

import click

from ssmax_eval.cli import options


@click.command()
@options.train_options
def train(
    recipe: str, settings: tuple[str, ...], output: str, start: str | None, trust_remote_code: bool, **changes: Any
) -> None:  # fmt: skip
    """Train a small language model by RECIPE: a shipped name (cpu, gpu_small, gpu) or a YAML file.

    The same command goes on where it stopped; the folder then runs under the attention it was trained with.

    \b
    Examples:
      ssmax-eval train cpu --attention ssmax --text novels -o trained/ssmax
      ssmax-eval train cpu --attention my_attention.py:Mine -o trained/mine
    """
    from ssmax_eval.train import load
    from ssmax_eval.train import train as run

    changed = {name: value for name, value in changes.items() if value is not None and (value or name == "learn")}
    run(load(recipe, changed, settings), output, start, trust_remote_code=trust_remote_code, say=click.echo)
