"""What a user, or a damaged disk, could hand to a parser: odd texts and numbers, good records with a part exchanged."""

import copy
from typing import Any

from hypothesis import strategies as st

NASTY = (
    "", " ", "0", "-1", "1", "2.5", "1e999", "nan", ".nan", "-.inf", "inf", "9" * 30, "9" * 5000, "0x" + "f" * 5000,
    "1:2:3", "0:1:100000000", "1:2:-3", "1,,2", "1k", "1e308k", "٣", "true", "null", "~", "[]", "{}", "[[1]]", "{a: 1}",
    "&a [*a]", "<<: 3", "!!binary x", "!!timestamp x", "2001-99-99", "!!set {a}", "'", '"', "\\", "\x00", "\x1b[31m",
    "\u2028", "\ud800", "{city} {number}", "{foo}", "{", "}", "{0}", "{number:999999999}", "a" * 300, "a" * 5000, "=x",
    "../..", "/dev/zero", "/", ".", "x.yaml", "x.py:X", "x:X", ":", "softmax", "ssmax:s=nan", "ssmax:s=",
    "lssar:p=1e99", "ssmax:layers=99", "yarn:factor=4", "yarn:factor=inf", "linear", "niah", "loss,niah",
)  # fmt: skip
"""Values that have broken something once, here or elsewhere."""

texts = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=40),
    st.text(alphabet="0123456789.,:-+ek=[]{}&*!<>|~#'\"% \nabxyzs", max_size=40),
    st.builds("".join, st.lists(st.sampled_from(NASTY), max_size=4)),
)
numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**63, -(2**63), 10**400, 0, -1, 1]),
    st.floats(),
    st.sampled_from([float("inf"), float("nan"), 1e308, -0.0]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
"""Anything that JSON or YAML can hold, and a few numbers that they cannot."""


def places(record: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every part of a record."""
    found = [before] if before else []
    parts = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    return found + [path for key, part in parts for path in places(part, (*before, key))]


@st.composite
def mutated(draw: st.DrawFn, good: Any) -> Any:
    """A good record, some parts of it exchanged, left out, or added."""
    record = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 3))):
        if not (there := places(record)):
            break
        *way, last = draw(st.sampled_from(there))
        parent = record
        for key in way:
            parent = parent[key]
        what = draw(st.sampled_from(["exchange", "exchange", "leave out", "add"]))
        if what == "exchange":
            parent[last] = draw(values)
        elif what == "leave out":
            del parent[last]
        elif isinstance(parent, dict):
            parent[draw(texts)] = draw(values)
        else:
            parent.append(draw(values))
    return record


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes, some of them flipped, cut off, repeated or inserted."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        what = draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if what == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif what == "cut":
            del content[at : at + draw(st.integers(1, 50))]
        elif what == "insert":
            content[at:at] = draw(st.binary(max_size=10))
        else:
            content[at:at] = content[max(0, at - 30) : at]
    return bytes(content)
