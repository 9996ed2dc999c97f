"""What a command that measures says without measuring."""

from typing import TYPE_CHECKING

import click

from ssmax_eval.cli.machine import print_json

if TYPE_CHECKING:
    from ssmax_eval.run.plan import Plan


def print_forecast(planned: "Plan", as_json: bool, offload_cache: str = "auto") -> None:
    """Print what each run of a plan would cost."""
    from ssmax_eval.run.forecast import forecast, forecasts

    if as_json:
        print_json({"forecast": [one._asdict() for one in forecasts(planned)]})
    else:
        click.echo(forecast(planned, offload_cache))
