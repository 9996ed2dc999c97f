"""`ssmax-eval show` and `ssmax-eval reconstruct`."""

from functools import partial
from typing import Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.machine import json_option, print_json
from ssmax_eval.measurement import Measurement


@click.command()
@partial(options.cell_options, required=False)
@json_option
def show(run: str, cell: str | None, as_json: bool, **where: Any) -> None:
    """Show one cell of RUN: for a needle the text around it, the answer and the score; for a document its losses.

    \b
    Examples:
      ssmax-eval show runs/NAME
      ssmax-eval show runs/NAME --cell context_length=512,depth=0.5,trial=0
      ssmax-eval show runs/NAME --json
    """
    if cell is None:
        from ssmax_eval.run.listing import cells_of, list_cells

        if as_json:
            print_json({"cells": [_values(one) for one in cells_of(run)[0]]})
        else:
            click.echo("\n".join(list_cells(run)))
    else:
        from ssmax_eval.run.stored import find

        found = find(run, cell, **where)
        if as_json:
            rows = {name: list(column) for name, column in found.measurement.rows.items()}
            print_json({**_values(found.measurement), "rows": rows, "text": found.show()})
        else:
            click.echo(found.show())


def _values(measurement: Measurement) -> dict[str, Any]:
    """A cell without its table."""
    return {
        "cell": measurement.cell.coordinates(),
        "error": measurement.error,
        "seconds": measurement.seconds,
        "values": measurement.values,
    }


@click.command()
@partial(options.cell_options, required=True)
def reconstruct(run: str, cell: str, **where: Any) -> None:
    """Print the exact prompt of one cell of RUN, up to where the answer begins.

    Example:  ssmax-eval reconstruct runs/NAME --cell context_length=512,depth=0.5,trial=0 > prompt.txt
    """
    from ssmax_eval.run.stored import find

    click.echo(find(run, cell, **where).prompt(), nl=False)
