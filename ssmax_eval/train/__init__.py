"""Small language models, trained from scratch or further under any attention: recipe in, checkpoint folder out.

Recipes import no torch; `train` does when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssmax_eval.train.recipe import Recipe, load, recipes
    from ssmax_eval.train.training import train

_HOMES = {"Recipe": "recipe", "load": "recipe", "recipes": "recipe", "train": "training"}

__all__ = ["Recipe", "load", "recipes", "train"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
