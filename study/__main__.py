"""`python -m study`."""

import click

from ssmax_eval.cli.one_line import Command


@click.command(cls=Command)
@click.argument("store")
@click.option("--checkpoints", default="checkpoints", show_default=True, help="Folder of the trained checkpoints.")
@click.option("-o", "--output", default="results", show_default=True, help="Folder for README.md and figures/.")
def main(store: str, checkpoints: str, output: str) -> None:
    """Hold the papers' claims against STORE, runs of checkpoints trained alike: a table with verdicts, and figures.

    Example:  python -m study results/reference --checkpoints checkpoints -o results
    """
    from study import write_claims

    click.echo(write_claims(store, checkpoints, output)[0])


if __name__ == "__main__":
    main()
