"""`ssmax-eval report` and `ssmax-eval compare`."""

from pathlib import Path
from typing import Any

import click

from ssmax_eval.cli import options


@click.command()
@options.report_options
def report(runs: tuple[str, ...], output: str, **options: Any) -> None:
    """Draw figures and tables from RUNS (run folders, or folders of runs).

    Example:  ssmax-eval report runs results -o report --style single
    """
    paths = write(runs, output, **options)
    click.echo("\n".join(str(path) for path in paths if path.suffix in (".html", ".md")))


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--baseline", help="Series that the others are compared with, as the tables name it.")
def compare(runs: tuple[str, ...], baseline: str | None) -> None:
    """Is A better than B? Paired statistics on identical prompts and documents, a sentence each.

    Example:  ssmax-eval compare runs --baseline softmax
    """
    from ssmax_eval.report import sentences
    from ssmax_eval.report.compare import pairs
    from ssmax_eval.store import read_results

    frame = read_results(*runs)
    pairs(frame, baseline)  # says what is wrong with the runs or the baseline
    click.echo("\n".join(sentences(frame, baseline)))


def write(runs: tuple[str, ...], output: str, **options: Any) -> list[Path]:
    from ssmax_eval.report import write_report
    from ssmax_eval.store import read_results, read_runs

    return write_report(read_results(*runs), output, provenance=read_runs(*runs), **options)
