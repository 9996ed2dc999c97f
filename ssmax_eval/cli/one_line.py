"""Print a user's mistake as one line and exit with status 2; anything else is a bug and keeps its traceback."""

from typing import Any

import click

from ssmax_eval.cli.stopping import STOPPED, Terminated, end_now, ended_by_sigterm
from ssmax_eval.errors import UserError, harmless
from ssmax_eval.user_code import failure

LONGEST = 2000
"""Characters of a message; the rest, of a name of many thousand characters say, is cut off."""


def _message(error: Exception) -> str | None:
    """What to tell a user whose mistake this is, or whose own code, or whose system; None for a bug of ours."""
    if isinstance(error, UserError):
        return str(error)
    if own := failure(error):
        return f"your own code fails: {own}"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, BrokenPipeError):
        place = f" {str(error.filename)!r}" if error.filename else ""
        return f"the system refuses{place}: {error.strerror}"
    return None


class _OneLine(click.Command):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            with ended_by_sigterm():
                return super().invoke(ctx)
        except Exception as error:
            if (message := _message(error)) is None:
                raise
            click.echo(f"Error: {harmless(' '.join(message.split()))[:LONGEST]}", err=True)
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
