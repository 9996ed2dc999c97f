"""`ssmax-eval show` and `ssmax-eval reconstruct`."""

from typing import Any

import click

from ssmax_eval.cli import options


@click.command()
@options.trial_options
def show(run: str, **where: Any) -> None:
    """Show one cell of RUN: the prompt around the needle, the answer, the score, the tokens.

    Example:  ssmax-eval show runs/NAME --cell context_length=512,depth=0.5,trial=0
    """
    from ssmax_eval.run import stored as trial

    click.echo(trial.show(trial.find(run, **where)))


@click.command()
@options.trial_options
def reconstruct(run: str, **where: Any) -> None:
    """Print the exact prompt of one cell of RUN, byte for byte, up to where the answer begins.

    Example:  ssmax-eval reconstruct runs/NAME --cell context_length=512,depth=0.5,trial=0 > prompt.txt
    """
    from ssmax_eval.run import stored as trial

    prompt = trial.find(run, **where).prompt()
    click.echo(prompt.text[: prompt.answer_at], nl=False)
