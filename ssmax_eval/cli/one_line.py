"""Print a user's mistake as one line and exit with status 2; anything else is a bug and keeps its traceback."""

from typing import Any

import click

from ssmax_eval.cli.stopping import STOPPED, Terminated, end_now, ended_by_sigterm
from ssmax_eval.errors import UserError, harmless

LONGEST = 2000
"""Characters of a message; the rest, of a name of many thousand characters say, is cut off."""


class _OneLine(click.Command):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            with ended_by_sigterm():
                return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {harmless(' '.join(str(error).split()))[:LONGEST]}", err=True)
            ctx.exit(2)
        except OSError as error:
            if error.strerror is None or isinstance(error, BrokenPipeError):
                raise
            place = f" {str(error.filename)!r}" if error.filename else ""
            click.echo(f"Error: the system refuses{place}: {harmless(error.strerror)}", err=True)
            ctx.exit(2)
        except Terminated:
            click.echo(STOPPED, nl=False, err=True)
            end_now()
        except KeyboardInterrupt:
            click.echo(STOPPED, nl=False, err=True)
            ctx.exit(130)


class Command(_OneLine):
    """A command by itself."""


class Commands(_OneLine, click.Group):
    """A group of commands."""
