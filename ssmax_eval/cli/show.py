"""`ssmax-eval show` and `ssmax-eval reconstruct`."""

from typing import Any

import click

from ssmax_eval.cli import options


@click.command()
@options.cell_options
def show(run: str, **where: Any) -> None:
    """Show one cell of RUN: for a needle the text around it, the answer and the score; for a document its losses.

    Example:  ssmax-eval show runs/NAME --cell context_length=512,depth=0.5,trial=0
    """
    from ssmax_eval.run.stored import find

    click.echo(find(run, **where).show())


@click.command()
@options.cell_options
def reconstruct(run: str, **where: Any) -> None:
    """Print the exact prompt of one cell of RUN, up to where the answer begins.

    Example:  ssmax-eval reconstruct runs/NAME --cell context_length=512,depth=0.5,trial=0 > prompt.txt
    """
    from ssmax_eval.run.stored import find

    click.echo(find(run, **where).prompt(), nl=False)
