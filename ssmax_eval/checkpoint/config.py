"""The attention that a checkpoint carries in its config, under a key of our own."""

from dataclasses import fields
from typing import Any

from ssmax_eval.attention import ATTENTIONS, Attention
from ssmax_eval.errors import UserError, unknown

KEY = "ssmax_eval"
"""In config.json: {"attention": name, parameter: value, ...}."""


def carried(config: Any) -> Attention | None:
    """The attention that a transformers config carries, or None. UserError when it is none that is known."""
    entry = getattr(config, KEY, None)
    if entry is None:
        return None
    if not isinstance(entry, dict) or "attention" not in entry:
        raise UserError(f"{KEY!r} in the checkpoint's config names no attention: {entry!r}")
    name = entry["attention"]
    if name not in ATTENTIONS:
        raise unknown("attention in the checkpoint's config:", str(name), ATTENTIONS)
    known = {f.name for f in fields(ATTENTIONS[name])}
    given = {key: _tupled(value) for key, value in entry.items() if key != "attention"}
    if strange := sorted(given.keys() - known):
        raise unknown(f"parameter of {name!r} in the checkpoint's config:", strange[0], known)
    return ATTENTIONS[name](**given)


def carry(config: Any, attention: Attention) -> None:
    """Write an attention into a transformers config. UserError for one that is not in the catalogue."""
    names = {cls: name for name, cls in ATTENTIONS.items()}
    if type(attention) not in names:
        raise UserError(
            f"{type(attention).__name__} is a class of your own; a config can only carry: {list(ATTENTIONS)}"
        )
    setattr(config, KEY, {"attention": names[type(attention)], **attention.parameters()})


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
