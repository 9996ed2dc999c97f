"""Lists of mappings in the YAML files of this room."""

from __future__ import annotations

from typing import Any, TypeVar

from ssmax_eval.errors import UserError
from ssmax_eval.settings import built, checked

T = TypeVar("T")


def mappings(content: Any, key: str, where: str) -> list[dict[str, Any]]:
    """The list of mappings that `content` has under `key`; UserError, naming `where` it stands, for anything else."""
    items = content.get(key) if isinstance(content, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise UserError(f"{where} must hold a list {key!r} of mappings, such as '- {{name: value}}'")
    return items


def entry(cls: type[T], content: dict[str, Any], where: str) -> T:
    """The dataclass of a mapping; UserError for a field that is unknown, missing, or of the wrong type."""
    return built(cls, checked(cls, content, where), where)
