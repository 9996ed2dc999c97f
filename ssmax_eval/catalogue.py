"""Names for classes that are imported when they are first asked for, so that listing them costs nothing."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

T = TypeVar("T")


class Catalogue(Mapping[str, type[T]], Generic[T]):
    """name -> class, made from a literal of name -> (place, about), as in "ssmax_eval.attention.ssmax:SSMax"."""

    def __init__(self, lines: Mapping[str, tuple[str, str]]) -> None:
        self._lines = dict(lines)

    def __getitem__(self, name: str) -> type[T]:
        module, _, cls = self._lines[name][0].partition(":")
        found: type[T] = getattr(import_module(module), cls)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def place(self, name: str) -> str:
        """Where a class is, as in "ssmax_eval.attention.ssmax:SSMax"; imports nothing."""
        return self._lines[name][0]

    def about(self, name: str) -> str:
        """What a name stands for, in one line; imports nothing."""
        return self._lines[name][1]

    def name_of(self, cls: type) -> str | None:
        """The name of a class, or None for one that is not in the catalogue; imports nothing."""
        place = f"{cls.__module__}:{cls.__qualname__}"
        return next((name for name, (where, _) in self._lines.items() if where == place), None)
