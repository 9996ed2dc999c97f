"""What lies on disk: a checkpoint's folder, its config, and what its weights bring."""

from typing import TYPE_CHECKING, Any

from ssmax_eval.checkpoint.packaged import PACKAGED

if TYPE_CHECKING:
    from ssmax_eval.checkpoint.checkpoint import Checkpoint

__all__ = ["PACKAGED", "Checkpoint"]


def __getattr__(name: str) -> Any:
    """Import `Checkpoint`, and torch with it, when it is first asked for."""
    if name != "Checkpoint":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ssmax_eval.checkpoint.checkpoint import Checkpoint

    return Checkpoint
