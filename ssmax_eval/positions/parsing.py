"""A position map from its name with parameters, and back."""

from dataclasses import fields
from typing import Any

from ssmax_eval.attention.parsing import built, own_class
from ssmax_eval.positions.base import PositionMap
from ssmax_eval.positions.catalogue import POSITIONS

NONE = "none"
"""What stands for the model's own positions."""


def parse(spec: str) -> PositionMap | None:
    """Return the position map of a specification: `rerope`, `rerope:window=4096`, `dca:chunk=6144,local=1024`.

    A class of the user's own is `package.module:Class` or `path/to/file.py:Class`, with parameters after another
    colon. `none` stands for the model's own positions, None. UserError for anything else.
    """
    name, _, rest = spec.partition(":")
    if spec == NONE:
        return None
    if name in POSITIONS:
        return built("position map", name, POSITIONS[name], rest)
    cls, settings = own_class(name, rest, PositionMap, "position", [*POSITIONS, NONE])
    position: PositionMap = built("position map", spec, cls, settings)
    return position


def name_of(cls: type[PositionMap]) -> str | None:
    """Return what a position map of this package is called; None for a class of the user's own."""
    return POSITIONS.name_of(cls)


def describe(position: PositionMap | None) -> str:
    """Return the specification that says what ran, with every parameter that is known; "" for None."""
    if position is None:
        return ""
    values = {f.name: getattr(position, f.name) for f in fields(position)}
    shown = [f"{name}={_shown(value)}" for name, value in values.items() if value is not None]
    return (name_of(type(position)) or type(position).__name__) + (":" + ",".join(shown) if shown else "")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
