"""The one kind of error that a user can mend, and how what was given is written in its message."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that change what a terminal or a page shows, and halves of characters that cannot be written at all."""
LONGEST = 200
"""Characters of a given value that a message repeats."""


class UserError(Exception):
    """Something the user can put right: what is wrong, what was given, what would work, in one line."""


class NothingMeasured(Exception):  # noqa: N818 (it is no mistake)
    """There is nothing here to draw or to tabulate; the one thing that is caught on the way to a report."""


def unknown(what: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among `known`, with the nearest known name as a hint."""
    names = sorted(known)
    near = get_close_matches(given[:LONGEST], names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
    return UserError(f"unknown {what} {shown(given)}; {hint}")


def shown(value: object) -> str:
    """Return a value as a message repeats it: on one line, shortened, whatever it is."""
    try:
        text = _brief.repr(value)
    except Exception:  # a number too long to write, or an object whose own repr fails
        return f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def harmless(text: str) -> str:
    """Return text with an escape such as `\\x1b` for every character that could control a terminal."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


_brief = Repr()
_brief.maxstring = _brief.maxother = _brief.maxlong = LONGEST
_brief.maxlist = _brief.maxtuple = _brief.maxdict = _brief.maxset = 20
