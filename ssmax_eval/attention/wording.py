"""An attention in words: a short specification for tables, and notes for what does not fit there."""

from dataclasses import fields
from typing import Any

from torch import Tensor

from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.catalogue import ATTENTIONS
from ssmax_eval.attention.unrewritten import NAME, Unrewritten


def name_of(cls: type[Attention]) -> str | None:
    """Return what an attention of this package is called; None for a class of the user's own."""
    return NAME if cls is Unrewritten else ATTENTIONS.name_of(cls)


def describe(attention: Attention) -> str:
    """Return the shortest specification that says what ran: the name, and the parameters that matter.

    A parameter is left out where it is None or its default; a field may name another such value in its metadata,
    as `hidden`. A table of values is shown as `s=table`; `notes` says more of it.
    """
    name = name_of(type(attention)) or type(attention).__name__
    shown = []
    for f in fields(attention):
        value = getattr(attention, f.name)
        if _is_table(value):
            shown.append(f"{f.name}=table")
        elif value is not None and value != f.metadata.get("hidden", f.default):
            shown.append(f"{f.name}={_shown(value)}")
    return name + (":" + ",".join(shown) if shown else "")


def notes(attention: Attention) -> list[str]:
    """Return a sentence for each parameter that is a table, such as "s per head, 0.11 to 0.31 (2 layers x 4 heads)"."""
    found = []
    for f in fields(attention):
        table = getattr(attention, f.name)
        if isinstance(table, tuple) and any(table):
            values = [value for layer in table for value in layer]
            layers, width = sum(map(bool, table)), max(map(len, table))
            of_layers = "1 layer" if layers == 1 else f"{layers} layers"
            unit, units = f.metadata.get("unit", ("head", "heads"))
            span = f"{min(values):.2g} to {max(values):.2g}"
            found.append(f"{f.name} per {unit}, {span} ({of_layers} x {width} {units})")
    return found


def _is_table(value: Any) -> bool:
    return isinstance(value, tuple | Tensor)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.5g}" if isinstance(value, float) else str(value)
