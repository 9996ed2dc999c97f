"""`ssmax-eval show` and `ssmax-eval reconstruct`."""

from functools import partial
from typing import Any

import click

from ssmax_eval.cli import options


@click.command()
@partial(options.cell_options, required=False)
def show(run: str, cell: str | None, **where: Any) -> None:
    """Show one cell of RUN: for a needle the text around it, the answer and the score; for a document its losses.

    \b
    Examples:
      ssmax-eval show runs/NAME
      ssmax-eval show runs/NAME --cell context_length=512,depth=0.5,trial=0
    """
    if cell is None:
        from ssmax_eval.run.listing import list_cells

        click.echo("\n".join(list_cells(run)))
    else:
        from ssmax_eval.run.stored import find

        click.echo(find(run, cell, **where).show())


@click.command()
@partial(options.cell_options, required=True)
def reconstruct(run: str, cell: str, **where: Any) -> None:
    """Print the exact prompt of one cell of RUN, up to where the answer begins.

    Example:  ssmax-eval reconstruct runs/NAME --cell context_length=512,depth=0.5,trial=0 > prompt.txt
    """
    from ssmax_eval.run.stored import find

    click.echo(find(run, cell, **where).prompt(), nl=False)
