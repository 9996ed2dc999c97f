"""`ssmax-eval runs`."""

import click

from ssmax_eval.cli.machine import json_option, print_json
from ssmax_eval.cli.table import aligned


@click.command()
@click.argument("stores", nargs=-1, required=True)
@json_option
def runs(stores: tuple[str, ...], as_json: bool) -> None:
    """List the runs in STORES (folders of runs, or run folders), and how many cells are done, failed and missing.

    Missing are cells that a command has asked for and that were not tried yet: the same command goes on with them.

    \b
    Examples:
      ssmax-eval runs runs
      ssmax-eval runs runs more-runs --json
    """
    from ssmax_eval.run.listing import list_runs

    found = list_runs(stores)
    if as_json:
        print_json({"runs": [one._asdict() for one in found]})
        return
    shown = [one for one in found if one.problem is None]
    head = ("run", "checkpoint", "attention", "task", "done", "failed", "missing")
    lines = [(*one[:1], *one[2:7], "?" if one.missing is None else one.missing) for one in shown]
    if lines:
        click.echo(aligned([head, *lines]))
    for one in found:
        if one.problem is not None:
            click.echo(f"{one.name} cannot be read: {one.problem}", err=True)
