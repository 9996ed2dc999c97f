"""The attention that a checkpoint names in its config, under a key of our own."""

from dataclasses import fields
from typing import Any

from ssmax_eval.attention import ATTENTIONS, Attention
from ssmax_eval.errors import UserError, shown, unknown

KEY = "ssmax_eval"
"""In config.json: {"attention": name, parameter: value, ...}."""


def from_config(config: Any) -> Attention | None:
    """Return the attention that a transformers config names, or None. UserError when it is not known."""
    entry = getattr(config, KEY, None)
    if entry is None:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("attention"), str):
        raise UserError(f"{KEY!r} in the checkpoint's config names no attention: {shown(entry)}")
    name = entry["attention"]
    if name not in ATTENTIONS:
        raise unknown("attention in the checkpoint's config:", str(name), ATTENTIONS)
    cls = ATTENTIONS[name]
    known = {f.name for f in fields(cls)}
    given = {key: _tupled(value) for key, value in entry.items() if key != "attention"}
    if strange := sorted(given.keys() - known):
        raise unknown(f"parameter of {name!r} in the checkpoint's config:", strange[0], known)
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name!r} in the checkpoint's config cannot be made from {shown(given)}: {error}") from None


def into_config(config: Any, attention: Attention) -> None:
    """Write an attention into a transformers config. UserError for one that is not in the catalogue."""
    name = ATTENTIONS.name_of(type(attention))
    if name is None:
        raise UserError(
            f"{type(attention).__name__} is a class of your own; a config can only name: {', '.join(ATTENTIONS)}"
        )
    setattr(config, KEY, {"attention": name, **attention.parameters()})


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
