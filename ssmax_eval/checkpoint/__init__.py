"""What lies on disk: a checkpoint's folder, its config, and the attention parameters in its weights.

`Checkpoint` is imported when it is first used, so that `PACKAGED` can be read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ssmax_eval.checkpoint.places import PACKAGED

if TYPE_CHECKING:
    from ssmax_eval.checkpoint.checkpoint import Checkpoint

__all__ = ["PACKAGED", "Checkpoint"]


def __getattr__(name: str) -> Any:
    """Import `Checkpoint` when it is first used."""
    if name != "Checkpoint":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ssmax_eval.checkpoint.checkpoint import Checkpoint

    return Checkpoint
