"""Where files of our own are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder that converted checkpoints and compiled kernels are kept in: `$SSMAX_EVAL_CACHE`, else the
    user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SSMAX_EVAL_CACHE") or Path(base) / "ssmax-eval")
