"""What lies on disk: a checkpoint's folder, its config, and the attention parameters in its weights."""

from ssmax_eval.checkpoint.checkpoint import PACKAGED, Checkpoint

__all__ = ["PACKAGED", "Checkpoint"]
