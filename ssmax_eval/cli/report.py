"""`ssmax-eval report` and `ssmax-eval compare`."""

from typing import Any

import click

from ssmax_eval.cli import options


@click.command()
@options.report_options
def report(runs: tuple[str, ...], output: str, **options: Any) -> None:
    """Draw figures and tables from RUNS (run folders, or folders of runs).

    Example:  ssmax-eval report runs -o report --style single
    """
    import ssmax_eval

    paths = ssmax_eval.report(runs, output, **options)
    click.echo("\n".join(str(path) for path in paths if path.suffix in (".html", ".md")))


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--baseline", help="Attention (softmax) or series, as the tables name it, to compare the others with.")
def compare(runs: tuple[str, ...], baseline: str | None) -> None:
    """Is A better than B? Paired statistics on identical prompts and documents, a sentence each.

    Example:  ssmax-eval compare runs --baseline softmax
    """
    import ssmax_eval
    from ssmax_eval.report import headlines

    click.echo("\n".join(headlines(ssmax_eval.compare(runs, baseline))))
