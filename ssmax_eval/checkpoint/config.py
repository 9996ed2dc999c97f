"""The attention and the position map that a checkpoint names in its config, under a key of our own."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from ssmax_eval.attention import ATTENTIONS, Attention
from ssmax_eval.checkpoint.own_code import Untrusted, class_in, is_own, name_of
from ssmax_eval.errors import UserError, shown, unknown
from ssmax_eval.positions import POSITIONS, PositionMap
from ssmax_eval.positions import name_of as name_of_position
from ssmax_eval.positions.label import COLUMN

KEY = "ssmax_eval"
"""In config.json: {"attention": name, parameter: value, ...}; a user's own is named `my_attention.py:Mine`.
With a position map also "position_map": {"name": name, parameter: value, ...}."""
NOT_PARAMETERS = {"attention", COLUMN}


def from_config(config: Any, folder: Path | None = None, *, trust_remote_code: bool = False) -> Attention | None:
    """Return the attention that a transformers config names, or None. UserError when it is not known.

    An attention whose code lies in `folder` is `Untrusted`, which fails when it is used, unless the code may run.
    """
    entry = _entry(config)
    if entry is None:
        return None
    name = entry["attention"]
    if is_own(name):
        if folder is None or not trust_remote_code:
            return Untrusted(message=_refusal(name, folder))
        cls = class_in(name, folder)
    elif name in ATTENTIONS:
        cls = ATTENTIONS[name]
    else:
        raise unknown("attention in the checkpoint's config:", name, ATTENTIONS)
    known = {f.name for f in fields(cls)}
    given = {key: _tupled(value) for key, value in entry.items() if key not in NOT_PARAMETERS}
    if strange := sorted(given.keys() - known):
        raise unknown(f"parameter of {name!r} in the checkpoint's config:", strange[0], known)
    try:
        return cls(**given)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name!r} in the checkpoint's config cannot be made from {shown(given)}: {error}") from None


def own_parameters(config: Any) -> frozenset[str]:
    """Return the parameters of a user's own attention that a config names; none for an attention of this package."""
    entry = _entry(config)
    return frozenset(entry.keys() - NOT_PARAMETERS) if entry and is_own(entry["attention"]) else frozenset()


def own_name(config: Any) -> str | None:
    """Return the name of a user's own attention in a config, as in `my_attention.py:Mine`, or None."""
    entry = _entry(config)
    return entry["attention"] if entry and is_own(entry["attention"]) else None


def position_from_config(config: Any) -> PositionMap | None:
    """Return the position map that a transformers config names, or None. UserError when it is not known."""
    content = (_entry(config) or {}).get(COLUMN)
    if content is None:
        return None
    if not isinstance(content, dict) or content.get("name") not in POSITIONS:
        raise UserError(f"{COLUMN!r} in the checkpoint's config names no position map: {shown(content)}")
    given = {key: value for key, value in content.items() if key != "name"}
    try:
        return POSITIONS[content["name"]](**given)
    except TypeError as error:
        raise UserError(f"the position map in the checkpoint's config cannot be made: {error}") from None


def into_config(config: Any, attention: Attention, position: PositionMap | None = None) -> None:
    """Write an attention, and a position map, into a transformers config.

    UserError for a parameter that JSON cannot hold, and for a position map of the user's own.
    """
    entry = {"attention": name_of(type(attention)), **attention.parameters()}
    if position is not None:
        if (called := name_of_position(type(position))) is None:
            raise UserError(
                f"a config cannot hold a position map of your own ({type(position).__name__}); give it with --position "
                "whenever the checkpoint is loaded"
            )
        entry[COLUMN] = {"name": called, **position.parameters()}
    try:
        json.dumps(entry)
    except TypeError as error:
        raise UserError(f"a config cannot hold the parameters of {entry['attention']!r}: {error}") from None
    setattr(config, KEY, entry)


def _entry(config: Any) -> dict[str, Any] | None:
    entry: dict[str, Any] | None = getattr(config, KEY, None)
    if entry is not None and not (isinstance(entry, dict) and isinstance(entry.get("attention"), str)):
        raise UserError(f"{KEY!r} in the checkpoint's config names no attention: {shown(entry)}")
    return entry


def _refusal(name: str, folder: Path | None) -> str:
    where = "" if folder is None else f", as in: ssmax-eval run {shlex.quote(str(folder))} --trust-remote-code"
    return (
        f"the attention of this checkpoint, {name!r}, is Python code in its folder; read the file, then let it run "
        f"with trust_remote_code=True in Python, or --trust-remote-code{where}"
    )


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
