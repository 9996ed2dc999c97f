"""Attentions: the catalogue, how a name with parameters is read, and what a definition is written with.

`ATTENTIONS` alone imports no torch; every other name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssmax_eval.attention.catalogue import ATTENTIONS

if TYPE_CHECKING:
    from ssmax_eval.attention.base import Attention, Shape
    from ssmax_eval.attention.call import Call, Extras, Rows, Visible
    from ssmax_eval.attention.functions import l1_normalised, masked_softmax
    from ssmax_eval.attention.lssa import LSSA, LSSAR
    from ssmax_eval.attention.parameters import PerHead, row
    from ssmax_eval.attention.parsing import parse
    from ssmax_eval.attention.softmax import Softmax
    from ssmax_eval.attention.ssmax import SSMax
    from ssmax_eval.attention.unrewritten import Unrewritten
    from ssmax_eval.attention.wording import describe, name_of, notes

_HOMES = {
    "LSSA": "lssa",
    "LSSAR": "lssa",
    "Attention": "base",
    "Call": "call",
    "Extras": "call",
    "PerHead": "parameters",
    "Rows": "call",
    "SSMax": "ssmax",
    "Shape": "base",
    "Softmax": "softmax",
    "Unrewritten": "unrewritten",
    "Visible": "call",
    "describe": "wording",
    "l1_normalised": "functions",
    "masked_softmax": "functions",
    "name_of": "wording",
    "notes": "wording",
    "parse": "parsing",
    "row": "parameters",
}

__all__ = [
    "ATTENTIONS",
    "LSSA",
    "LSSAR",
    "Attention",
    "Call",
    "Extras",
    "PerHead",
    "Rows",
    "SSMax",
    "Shape",
    "Softmax",
    "Unrewritten",
    "Visible",
    "describe",
    "l1_normalised",
    "masked_softmax",
    "name_of",
    "notes",
    "parse",
    "row",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
