"""The commands, put together. What is slow to import is imported inside the command that needs it."""

import logging

import click

from ssmax_eval import __version__
from ssmax_eval.cli.calibrate import calibrate
from ssmax_eval.cli.check import check, convert
from ssmax_eval.cli.demo import demo
from ssmax_eval.cli.extend import extend
from ssmax_eval.cli.harness import harness
from ssmax_eval.cli.listing import list_
from ssmax_eval.cli.one_line import Commands
from ssmax_eval.cli.report import compare, report
from ssmax_eval.cli.run import run
from ssmax_eval.cli.runs import runs
from ssmax_eval.cli.show import reconstruct, show
from ssmax_eval.cli.train import train


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Measure whether a checkpoint still finds things, and predicts well, far beyond its training length.

    Example:  ssmax-eval run smollm2-135m --attention softmax --attention ssmax -o runs
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("ssmax_eval").setLevel(logging.INFO)


for command in (
    *(run, harness, runs, report, compare, show, reconstruct),
    *(check, convert, calibrate, extend, train, demo, list_),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
