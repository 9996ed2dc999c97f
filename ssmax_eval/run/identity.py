"""A run: a checkpoint under an attention on a task. Its identity is what decides its numbers."""

import hashlib
import inspect
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ssmax_eval.attention import Attention, describe
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.tasks import Task

DEFINITIONS = 1
"""Raised when a change to a task or an attention changes what a number means, so that old cells are not reused."""


@dataclass(frozen=True)
class Run:
    """A checkpoint under an attention on a task."""

    checkpoint: Checkpoint
    attention: Attention
    """With its parameters settled for the checkpoint."""
    task: Task

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers of a cell, as plain values."""
        return {
            "definitions": DEFINITIONS,
            "checkpoint": self.checkpoint.identity(),
            "attention": {**_class_identity(type(self.attention)), **self.attention.parameters()},
            "task": self.task.identity(),
        }

    @cached_property
    def name(self) -> str:
        """The run's folder: readable, and unique to its identity."""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:10]
        readable = f"{self.checkpoint.label}_{describe(self.attention)}_{self.task.kind}"
        return f"{re.sub(r'[^A-Za-z0-9_.=-]+', '-', readable)}_{digest}"

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the store writes down: the identity, and the columns that its rows begin with."""
        columns = {
            "checkpoint": self.checkpoint.label,
            "attention": describe(self.attention),
            "task": self.task.kind,
            "train_length": self.checkpoint.shape.train_length,
            "dtype": self.identity["checkpoint"]["dtype"],
            "rope": self.checkpoint.rope_label,
        }
        quantities = [quantity.to_json() for quantity in self.task.quantities]
        return {"columns": columns, "quantities": quantities, "identity": self.identity}


def _class_identity(cls: type) -> dict[str, str]:
    """Name of an attention's class; of one from outside the package also its source, which may change any time."""
    if cls.__module__.split(".")[0] == "ssmax_eval":
        return {"class": cls.__name__}
    return {"class": cls.__name__, "source": hashlib.sha256(inspect.getsource(cls).encode()).hexdigest()[:16]}
