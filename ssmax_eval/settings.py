"""Settings: YAML files and `FIELD=VALUE` into the fields of a dataclass, each value checked."""

import math
import re
import types
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from ssmax_eval.errors import UserError, shown, unknown
from ssmax_eval.files import read_whole

T = TypeVar("T")

NUMBER = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""A number that YAML 1.1 takes for text, such as 1e-3."""

MOST_NODES = 100_000
"""Values that a YAML document may hold, each counted as often as an alias repeats it."""
LARGEST = 2**63
"""Whole numbers are smaller than this, in either direction."""

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
        content = read_whole(path, what).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{str(path)!r} is not readable as YAML: {error}") from None
    return yaml_value(content, repr(str(path)))


def yaml_value(content: str, where: str) -> Any:
    """Return the value of a YAML document. UserError, which says `where` it stands, for one that cannot be read.

    A document that is too deep, or that aliases unfold to more than MOST_NODES values, is refused before it is made.
    """
    try:
        loader = yaml.SafeLoader(content)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _unfolded(node, {}) > MOST_NODES:
                raise UserError(f"{where} holds more than {MOST_NODES:,} values, once its aliases are unfolded")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except UserError:
        raise
    except RecursionError:
        raise UserError(f"{where} is not readable as YAML: it is nested too deeply") from None
    except Exception as error:  # PyYAML raises many kinds for a value that does not fit its tag
        said = str(error) if isinstance(error, yaml.YAMLError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{where} is not readable as YAML: {' '.join(said.split())[:300]}") from None


def _unfolded(node: yaml.Node, known: dict[int, float]) -> float:
    """Return how many values a node holds, each as often as it is repeated; inf for a node that holds itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until it is counted: met again before that, it is inside itself
        parts: Any = node.value if isinstance(node, yaml.CollectionNode) else ()
        inner = (child for part in parts for child in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = 1 + sum(_unfolded(child, known) for child in inner)
    return known[id(node)]


class Typed(str):
    """A value as it was typed. A field that holds a text takes it as it is; any other field reads it as YAML."""

    __slots__ = ()

    def read(self, name: str) -> Any:
        """Return the value as YAML gives it, an empty one as "". UserError where it is not readable as YAML."""
        return yaml_value(self, f"--set {name}") if self else ""


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
            raise unknown(f"field in {where}:", name if isinstance(name, str) else shown(name), known)
    return {name: _converted(name, value, known[name], where) for name, value in content.items()}


def _converted(name: str, value: Any, hint: Any, where: str) -> Any:
    if isinstance(value, Typed):
        value = str(value) if hint is str else value.read(name)
    if get_origin(hint) is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_converted(name, item, get_args(hint)[0], where) for item in items)
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        bare = get_origin(kind) or kind  # dict for dict[str, int]
        if not isinstance(bare, type) or (isinstance(value, bare) and (kind is bool or not isinstance(value, bool))):
            return _sane(name, value, where)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(_sane(name, value, where))
        if kind is float and isinstance(value, str) and NUMBER.fullmatch(value):
            return _sane(name, float(value), where)
    wanted = " or ".join(WORDS.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds)
    raise UserError(f"{name!r} in {where} must be {wanted}; got {shown(value)}")


def _sane(name: str, value: Any, where: str) -> Any:
    """Return the value. UserError for a number that is not finite or too large, and a text that cannot be written."""
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name!r} in {where} must be a finite number; got {value}")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise UserError(f"{name!r} in {where} must be smaller than 2^63; got {shown(value)}")
    if isinstance(value, str) and not _encodable(value):
        raise UserError(f"{name!r} in {where} holds half a character, which cannot be written: {shown(value)}")
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shipped(room: str, folder: str, within: str = "") -> dict[str, Path]:
    """The YAML files that a room ships, by name: inside the package once it is installed, beside it in a checkout.

    `within` names a folder among them.
    """
    package = Path(__file__).parent
    inside = package / room / "settings"
    place = inside if inside.is_dir() else package.parent / folder
    return {path.stem: path for path in sorted((place / within).glob("*.yaml"))}
