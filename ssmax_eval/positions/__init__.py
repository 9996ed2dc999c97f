"""Position maps: at which positions the scores of queries and keys are made, whatever the attention makes of them.

`POSITIONS` alone imports no torch; every other name is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ssmax_eval.positions.catalogue import POSITIONS

if TYPE_CHECKING:
    from ssmax_eval.positions.base import Pairs, PositionMap
    from ssmax_eval.positions.parsing import describe, name_of, parse
    from ssmax_eval.positions.placed import Mapped, Places
    from ssmax_eval.positions.rotation import Rotation

_HOMES = {
    "Mapped": "placed",
    "Pairs": "base",
    "Places": "placed",
    "PositionMap": "base",
    "Rotation": "rotation",
    "describe": "parsing",
    "name_of": "parsing",
    "parse": "parsing",
}

__all__ = [
    "POSITIONS",
    "Mapped",
    "Pairs",
    "Places",
    "PositionMap",
    "Rotation",
    "describe",
    "name_of",
    "parse",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
