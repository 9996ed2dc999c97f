"""`ssmax-eval check` and `ssmax-eval convert`."""

import os
import sys
from typing import Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.machine import json_option, print_json
from ssmax_eval.cli.options import checkpoint_of


@click.command()
@click.argument("checkpoint")
@click.option("--attention", "attentions", multiple=True, help="Attention to try. Repeatable. Default: all of them.")
@options.position_option
@options.checkpoint_options
@json_option
def check(
    checkpoint: str, attentions: tuple[str, ...], positions: tuple[str, ...], as_json: bool, **loading: Any
) -> None:
    """Check, on a few tokens, that the attention of CHECKPOINT can be rewritten.

    Give the name of an attention or a position map instead, or file.py:Class, to check that it does what every one of
    them must do.
    The exit status is 2 where something is refused or broken.

    \b
    Examples:
      ssmax-eval check smollm2-135m --attention lssar:p=3
      ssmax-eval check smollm2-135m --attention softmax --position rerope:window=4096
      ssmax-eval check my_attention.py:Mine
      ssmax-eval check smollm2-135m --json
    """
    from ssmax_eval.attention import ATTENTIONS
    from ssmax_eval.positions import POSITIONS
    from ssmax_eval.run import check as room

    name, colon, _ = checkpoint.partition(":")
    if name in ATTENTIONS or name in POSITIONS or (colon and not os.path.exists(checkpoint)):
        findings = room.contract(checkpoint)
    else:
        findings = room.check(checkpoint_of(checkpoint, loading), attentions, positions)
    found = []
    for finding in findings:
        found.append(finding)
        if not as_json:
            click.echo(finding)
    good = all(finding.good for finding in found)
    if as_json:
        print_json({"checked": checkpoint, "good": good, "findings": [finding._asdict() for finding in found]})
    if not good:
        sys.exit(2)


@click.command()
@click.argument("checkpoint")
@click.option(
    "--attention", required=True, help="Attention and parameters to write into the config, e.g. ssmax:s=0.168."
)
@click.option("--position", default="auto", help="Position map to write there as well, e.g. rerope:window=4096.")
@click.option("-o", "--output", required=True, help="New folder for the checkpoint.")
@options.checkpoint_options
def convert(checkpoint: str, attention: str, position: str, output: str, **loading: Any) -> None:
    """Copy CHECKPOINT to a new folder whose config names the attention.

    The folder then loads with that attention here, and in transformers after `ssmax_eval.register()`.

    Example:  ssmax-eval convert smollm2-135m --attention ssmax:s=0.125 -o smollm2-ssmax
    """
    from ssmax_eval.attention import describe
    from ssmax_eval.model import convert as write

    written = write(checkpoint_of(checkpoint, loading), attention, output, position=position)
    click.echo(f"{output} carries {describe(written)}")
