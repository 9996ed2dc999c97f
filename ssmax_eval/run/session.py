"""What is written down of a process that measures, and does not change its numbers."""

import hashlib
import platform
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
import transformers

from ssmax_eval import __version__
from ssmax_eval.model import Model
from ssmax_eval.run.identity import Run
from ssmax_eval.run.shards import Shard
from ssmax_eval.tasks import TASKS
from ssmax_eval.user_code import place_of


def session(run: Run, model: Model, sizes: Mapping[int, int], shard: Shard | None = None) -> dict[str, Any]:
    """Return the record of a session; `sizes` is how many cells of each context length are measured together."""
    template = getattr(run.checkpoint.tokenizer, "chat_template", None)
    return {
        "kind": "session",
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": ["ssmax-eval", *sys.argv[1:]],
        **({"shard": str(shard)} if shard else {}),
        "given": given(run),
        "versions": {
            "ssmax_eval": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "chat_template": hashlib.sha256(str(template).encode()).hexdigest()[:16] if template else None,
        "device": model.where,
        "batch_size": {str(length): size for length, size in sizes.items()},
        "prefill_chunk": model.prefill_chunk,
        **({"offload_cache": model.offload_cache} if model.offload_cache != "auto" else {}),
        **({"tensor_parallel": count} if (count := run.checkpoint.ranks) > 1 else {}),
    }


def given(run: Run) -> dict[str, Any]:
    """Return where the parts of a run come from, so that a stored cell can be looked into."""
    cls = type(run.task)
    own = {} if TASKS.name_of(cls) else {"task": place_of(cls)}
    return {
        "checkpoint": run.checkpoint.name,
        "texts": list(run.task.texts),
        "grid": run.task.grid_settings(),
        **({"files": places} if (places := run.task.places()) else {}),
        **own,
    }
