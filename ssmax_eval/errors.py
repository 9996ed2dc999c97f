"""The one kind of error that a user can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can put right: what is wrong, what was given, what would work, in one line."""


class NothingMeasured(Exception):  # noqa: N818 (it is no mistake)
    """There is nothing here to draw or to tabulate; the one thing that is caught on the way to a report."""


def unknown(what: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among `known`, with the nearest known name as a hint."""
    names = sorted(known)
    near = get_close_matches(given, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return UserError(f"unknown {what} {given!r}; {hint}")
