"""Settings: YAML files and `FIELD=VALUE` into the fields of a dataclass, each value checked."""

import re
import types
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ssmax_eval.errors import UserError, unknown

T = TypeVar("T")

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""A number that YAML 1.1 takes for text, such as 1e-3."""

WORDS = {
    bool: "true or false",
    float: "a number",
    int: "a whole number",
    str: "a text",
    types.NoneType: "null",
}
"""What a value must be, in a message."""


def from_yaml(path: Path, what: str) -> Any:
    """Return what a YAML file holds. UserError, which says `what` the file is, where it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {what} {str(path)!r}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} is not readable as YAML: {' '.join(str(error).split())}") from None


class Typed(str):
    """A value as it was typed. A field that holds a text takes it as it is; any other field reads it as YAML."""

    __slots__ = ()

    def read(self, name: str) -> Any:
        """Return the value as YAML gives it, an empty one as "". UserError where it is not readable as YAML."""
        try:
            return yaml.safe_load(self) if self else ""
        except yaml.YAMLError as error:
            raise UserError(f"--set {name} is not readable as YAML: {' '.join(str(error).split())}") from None


def assignments(settings: Sequence[str]) -> dict[str, Typed]:
    """Return what `--set FIELD=VALUE` sets; `checked` reads the values. UserError where there is no `=`."""
    values = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set takes FIELD=VALUE; given {setting!r}")
        values[name] = Typed(value)
    return values


def built(cls: type[T], values: dict[str, Any], where: str) -> T:
    """Return the dataclass with these checked values. UserError where a field without a default has none."""
    dataclass: Any = cls
    needed = [f.name for f in fields(dataclass) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in needed if name not in values]:
        raise UserError(f"{where} lacks {missing[0]!r}; give it there, or with --set {missing[0]}=VALUE")
    return cls(**values)


def checked(cls: type[Any], content: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the values for fields of a dataclass, each in the field's type.

    `content` is as YAML gives it, or as `assignments` does; `where` says where it comes from. UserError for an unknown
    field or a wrong value.
    """
    hints = get_type_hints(cls)
    known = {f.name: hints[f.name] for f in fields(cls)}
    for name in content:
        if name not in known:
            raise unknown(f"field in {where}:", str(name), known)
    return {name: _converted(name, value, known[name], where) for name, value in content.items()}


def _converted(name: str, value: Any, hint: Any, where: str) -> Any:
    if isinstance(value, Typed):
        value = str(value) if hint is str else value.read(name)
    if get_origin(hint) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_converted(name, item, get_args(hint)[0], where) for item in items)
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
            return float(value)
    wanted = " or ".join(WORDS.get(kind, kind.__name__) for kind in kinds)
    raise UserError(f"{name!r} in {where} must be {wanted}; got {value!r}")


def shipped(room: str, folder: str) -> dict[str, Path]:
    """The YAML files that a room ships, by name: inside the package once it is installed, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / room / "settings"
    return {path.stem: path for path in sorted((inside if inside.is_dir() else package.parent / folder).glob("*.yaml"))}
