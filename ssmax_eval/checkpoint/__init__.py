"""What lies on disk: a checkpoint's folder, its config, and what its weights bring."""

from ssmax_eval.checkpoint.checkpoint import PACKAGED, Checkpoint

__all__ = ["PACKAGED", "Checkpoint"]
