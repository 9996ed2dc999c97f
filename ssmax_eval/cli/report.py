"""`ssmax-eval report` and `ssmax-eval compare`."""

from typing import Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.machine import json_option, print_json, rows


def _naming(command: Any) -> Any:
    """The options that name and pool series."""
    labelled = click.option(
        "--label", multiple=True, metavar="PATTERN=NAME", help="Name checkpoints or attentions. Repeatable."
    )
    return labelled(click.option("--pool", help="seed: make one series of the seeds of a training.")(command))


@click.command()
@options.report_options
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="FILE",
    help="File of a suite of your own; shipped ones are shown anyway. Repeatable.",
)
@click.option("--multiples", is_flag=True, help="Write lengths as multiples of the training length.")
@_naming
def report(runs: tuple[str, ...], output: str, label: tuple[str, ...], **options: Any) -> None:
    """Draw figures and tables from RUNS (run folders, or folders of runs).

    Example:  ssmax-eval report runs -o report --style single
    """
    import ssmax_eval
    from ssmax_eval.report.labels import parsed

    paths = ssmax_eval.report(runs, output, label=parsed(label), **options)
    click.echo("\n".join(str(path) for path in paths if path.suffix in (".html", ".md")))


@click.command()
@click.argument("runs", nargs=-1, required=True)
@options.baseline_option
@_naming
@json_option
def compare(
    runs: tuple[str, ...], baseline: str | None, label: tuple[str, ...], pool: str | None, as_json: bool
) -> None:
    """Is A better than B? Paired statistics on identical prompts and documents, a sentence each.

    \b
    Examples:
      ssmax-eval compare runs --baseline softmax
      ssmax-eval compare runs --json
    """
    import ssmax_eval
    from ssmax_eval.report import headlines
    from ssmax_eval.report.labels import parsed

    table = ssmax_eval.compare(runs, baseline, label=parsed(label), pool=pool)
    if as_json:
        print_json({"differences": rows(table), "sentences": headlines(table)})
    else:
        click.echo("\n".join(headlines(table)))
