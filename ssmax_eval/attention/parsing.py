"""How the name of an attention with its parameters is read."""

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ssmax_eval.attention.auto import Auto
from ssmax_eval.attention.base import Attention
from ssmax_eval.attention.catalogue import ATTENTIONS
from ssmax_eval.attention.parameters import PerHead, read_per_head
from ssmax_eval.attention.unrewritten import NAME, Unrewritten
from ssmax_eval.errors import UserError, shown, unknown
from ssmax_eval.user_code import load_class

T = TypeVar("T")

ALWAYS = frozenset({"layers"})
"""Fields that every attention has."""
LARGEST = 1e30
"""Numbers are smaller than this, so that float32 holds their products."""
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
"""What a value of a type must be, in words."""


def parse(spec: str) -> Attention:
    """Return the attention of a specification: `ssmax`, `ssmax:s=0.168`, `lssar:p=3,qk_norm=false`.

    A class of the user's own is `package.module:Class` or `path/to/file.py:Class`, with parameters after another
    colon. `auto` is what the checkpoint was trained with; `none` leaves the model as it is. A parameter per layer and
    head is the name of a file (JSON or safetensors). Every attention takes `layers`, to rewrite only some of them.
    UserError for anything else.
    """
    name, _, rest = spec.partition(":")
    if spec == "auto":
        return Auto()
    if spec == NAME:
        return Unrewritten()
    if name in ATTENTIONS:
        return built("attention", name, ATTENTIONS[name], rest, ALWAYS)
    cls, settings = own_class(name, rest, Attention, "attention", ATTENTIONS)
    attention: Attention = built("attention", spec, cls, settings, ALWAYS)
    return attention


def own_class(name: str, rest: str, base: type, kind: str, known: Iterable[str]) -> tuple[Any, str]:
    """Return the class of the user's own at `file.py:Class` or `package.module:Class`, and the settings behind it.

    `name` is what stands before the first colon, `rest` what comes after it. UserError where no class can be meant.
    """
    class_name, _, settings = rest.partition(":")
    if not class_name.isidentifier() or ("." not in name and not _is_module(name)):
        raise unknown(kind, name, known)
    return load_class(f"{name}:{class_name}", base, f"--{kind}"), settings


def _is_module(name: str) -> bool:
    """Whether there is a module of this name to be imported."""
    try:
        return bool(name) and importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # __main__ has no spec
        return name in sys.modules


def built(kind: str, name: str, cls: type[T], settings: str, always: frozenset[str] = frozenset()) -> T:
    """Return an object of a dataclass from settings such as `s=0.168,b=0`; `kind` is what messages call it.

    Its fields in `always` are those that every such class has. UserError for anything that does not fit.
    """
    hints = {f.name: get_type_hints(cls)[f.name] for f in fields(cls)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for setting in filter(None, settings.split(",")):
        key, equals, text = setting.partition("=")
        if key not in hints:
            if not hints.keys() - always:
                raise UserError(f"{kind} {name!r} has no parameters; given {setting!r}")
            raise unknown(f"parameter of {kind} {name!r}:", key, hints)
        if not equals:
            raise UserError(f"parameter {key!r} of {kind} {name!r} needs a value, as in {key}=1")
        given[key] = _value(f"{kind} {name!r}", key, text, hints[key])
    try:
        return cls(**given)
    except TypeError as error:
        raise UserError(f"{kind} {name!r} cannot be made from {settings!r}: {error}") from None


def _value(whose: str, key: str, text: str, hint: Any) -> Any:
    if hint == PerHead | None and Path(text).suffix in (".json", ".safetensors"):
        return read_per_head(key, Path(text))
    kinds = getattr(hint, "__args__", (hint,))
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                value = kind(text)
            except ValueError:
                continue
            if not abs(value) < LARGEST:  # nan too
                raise UserError(f"parameter {key!r} of {whose} must be below 1e30; got {shown(text)}")
            return value
    if str in kinds:
        return text
    expected = [words for kind, words in WORDS.items() if kind in kinds]
    expected += ["a .json or .safetensors file"] if hint == PerHead | None else []
    raise UserError(f"parameter {key!r} of {whose} must be {' or '.join(expected)}; got {text!r}")
