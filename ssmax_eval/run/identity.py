"""A run: a checkpoint under an attention on a task, and its identity, which is what decides its numbers.

The identity holds

- the checkpoint: a digest of its files, the dtype, changes to RoPE, the training length;
- the attention: its name, its version, its parameters as they are for this checkpoint;
- the position map, where there is one: likewise;
- the task: its kind, its version, every field outside the grid, a digest of the texts; where they count, the date that
  a chat template is told and the tokens that end an answer.

A definition of this package is identified by a version, which is raised when a number changes; a test compares the
source of every definition with a record. A class of the user's own is also identified by its code (`code`): the whole
file, the local modules that it imports, and the files of its base classes. Not in the identity: versions of torch and
transformers, the device, batch sizes; they change a number by rounding alone, and each session records them.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ssmax_eval.attention import Attention, describe, name_of, notes
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.positions import PositionMap
from ssmax_eval.positions import describe as describe_position
from ssmax_eval.positions import name_of as name_of_position
from ssmax_eval.positions.label import COLUMN, label
from ssmax_eval.tasks import Task
from ssmax_eval.user_code import digest

FORMAT = 1
"""Version of a run's description."""
PART = 55
"""Characters of each part of a folder's name: with four parts and the hash, it fits into the 255 of a file system."""
CHANGES = {"rope": "rope", "position": COLUMN}
"""What the last part of a folder's name says, where there is any of it, and the columns that hold it."""
HASH = 10
"""Hexadecimal digits of the hash in a folder's name."""


@dataclass(frozen=True)
class Run:
    """A checkpoint under an attention on a task."""

    checkpoint: Checkpoint
    attention: Attention
    """With the parameters that it has on this checkpoint, from `Attention.resolve`."""
    task: Task
    position: PositionMap | None = None
    """Likewise the position map; None: the model's own positions."""

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers of a cell, as plain values."""
        return {
            "checkpoint": self.checkpoint.identity(),
            "attention": attention_identity(self.attention),
            **({COLUMN: position_identity(self.position)} if self.position is not None else {}),
            "task": {**self.task.identity(), **self.task.of_checkpoint(self.checkpoint)},
        }

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the store writes down of the run."""
        columns = {
            "checkpoint": self.checkpoint.label,
            "attention": describe(self.attention),
            "task": self.task.name,
            "train_length": self.checkpoint.shape.train_length or None,
            "dtype": self.identity["checkpoint"]["dtype"],
            "rope": self.checkpoint.rope_label,
            **({COLUMN: describe_position(self.position)} if self.position is not None else {}),
        }
        return {
            "format": FORMAT,
            "columns": columns,
            "quantities": [quantity.to_json() for quantity in self.task.numbers()],
            "notes": notes(self.attention),
            "identity": self.identity,
        }

    @property
    def label(self) -> str:
        """The attention, and the position map where there is one, in words."""
        return label(describe(self.attention), describe_position(self.position))

    @cached_property
    def name(self) -> str:
        """The name of the run's folder."""
        return folder_name(self.description)


def folder_name(description: Mapping[str, Any]) -> str:
    """Return the folder of a run: what it is in a person's words, then the hash of its identity.

    It depends on the `columns` and the `identity` of the description alone, as they are in a run or in its run.json:
    `ssmax-seed0_ssmax-s-table_niah_rope-base-x50_1f81ef21c0`.
    """
    columns = description["columns"]
    changes = " ".join(f"{what} {columns[name]}" for what, name in CHANGES.items() if columns.get(name))
    parts = [columns["checkpoint"], columns["attention"], columns["task"], *([changes] if changes else [])]
    return "_".join([*map(_readable, parts), identity_hash(description["identity"])])


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Return the hash of an identity, in the one form in which it is written as JSON."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:HASH]


def attention_identity(attention: Attention) -> dict[str, Any]:
    """Return what decides what an attention computes: name, version and parameters; of a user's own also its code."""
    cls = type(attention)
    name = name_of(cls)
    own = {} if name else {"code": digest(cls)}
    return {"name": name or cls.__name__, "version": cls.version, **own, **attention.parameters()}


def position_identity(position: PositionMap) -> dict[str, Any]:
    """Return what decides where scores are made: name, version and parameters; of a user's own map also its code."""
    cls = type(position)
    name = name_of_position(cls)
    own = {} if name else {"code": digest(cls)}
    return {"name": name or cls.__name__, "version": cls.version, **own, **position.parameters()}


def _readable(part: object) -> str:
    """A part of a folder's name: letters, digits, dots, underscores and hyphens."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", str(part))[:PART].strip("-.") or "-"
