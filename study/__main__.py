"""`python -m study`."""

import click

from ssmax_eval.cli.one_line import Command


@click.command(cls=Command)
@click.argument("store", default="results/reference")
@click.option(
    "--checkpoints", default="checkpoints", show_default=True, help="Folder of the checkpoints, or of their records."
)
@click.option("-o", "--output", default="results", show_default=True, help="Folder for README.md and figures/.")
@click.option("--pdf", is_flag=True, help="Write every figure as a PDF too.")
def main(store: str, checkpoints: str, output: str, pdf: bool) -> None:
    """Write the page of the papers' claims, with its figures.

    STORE is a folder of runs that study/measure.sh made (default: results/reference). The page says for each claim of
    study/claims.yaml what was measured and whether the claim holds. Nothing is trained or measured.

    Example:  python -m study results/reference --checkpoints checkpoints -o results
    """
    from study import write_page

    click.echo(write_page(store, checkpoints, output, pdf=pdf)[0])


if __name__ == "__main__":
    main()
