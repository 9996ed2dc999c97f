"""The processes that hold one model together, each with a part of every layer's heads: tensor parallelism.

All of them run the same passes in the same order, and wait for each other inside of each. So what decides the next
pass, and may differ from process to process (memory that is free, cells on the disk), is decided once, for all.
"""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ssmax_eval.errors import UserError

T = TypeVar("T")

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others to decide something."""


@dataclass(frozen=True)
class Processes:
    """The processes that hold one model. By itself, a process needs no other, and every method gives its own value."""

    count: int = 1
    rank: int = 0
    """Number of this process, from 0."""
    talk: Any = None
    """The group in which they decide things, apart from the one that computes."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints, and writes to the store."""
        return self.rank == 0

    def first(self, value: T) -> T:
        """Return the value that the first process has."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.talk)
        return box[0]

    def every(self, value: T) -> list[T]:
        """Return the values that all processes have."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value, group=self.talk)
        return found

    def same(self, x: Tensor) -> Tensor:
        """Return the tensor that the first process has, where all have one of this shape and dtype."""
        if self.count > 1:
            x = x.clone(memory_format=torch.contiguous_format)
            dist.broadcast(x, src=0)
        return x

    def joined(self, x: Tensor, dim: int) -> Tensor:
        """Return the tensors of all processes, joined along a dimension."""
        if self.count == 1:
            return x
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(self.count)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts, dim)


ALONE = Processes()
_here = ALONE


def processes() -> Processes:
    """Return the processes that hold the model; this one alone before `join`."""
    return _here


def follows(count: int) -> bool:
    """Whether this is one of `count` processes, and not the one that prints and writes."""
    return count > 1 and os.environ.get("RANK", "0") != "0"


def join(count: int, device: torch.device) -> None:
    """Become one of `count` processes that hold one model. UserError where there are not as many."""
    global _here
    if count == _here.count:
        return
    if _here.count > 1:
        raise UserError(f"this process is one of {_here.count} that hold a model; it cannot be one of {count} as well")
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != count:
        raise UserError(
            f"--tensor-parallel {count} needs {count} processes, and there {_are(started)}; start them with: "
            f"torchrun --nproc-per-node {count} -m ssmax_eval run ... --tensor-parallel {count}"
        )
    if not dist.is_initialized():
        _start(device)
    _here = Processes(count, dist.get_rank(), dist.new_group(backend="gloo", timeout=PATIENCE))


def _are(started: int) -> str:
    return "is 1" if started == 1 else f"are {started}"


def _start(device: torch.device) -> None:
    """Start the group that computes, each process on the device of its number on this machine."""
    if device.type == "cpu":
        dist.init_process_group("gloo")
        return
    place = torch.device(device.type, int(os.environ.get("LOCAL_RANK", "0")))
    torch.accelerator.set_device_index(place.index)
    dist.init_process_group("nccl" if device.type == "cuda" else None, device_id=place)


def leave() -> None:
    """Wait for the others, and be a process by itself again."""
    global _here
    if _here.count > 1:
        _here.every(None)
        dist.destroy_process_group()
        _here = ALONE


def refuse_difference(what: str, *values: Any) -> None:
    """Raise UserError, in all processes, where they do not have the same values."""
    if any(other != values for other in _here.every(values)):
        raise UserError(
            f"the {_here.count} processes that hold the model do not agree on {what}; nothing more is measured, since "
            "their passes would no longer be the same"
        )


def refuse_apart(config: Any, count: int, device: torch.device, device_map: str | None) -> None:
    """Raise UserError where the layers of a model cannot be held by several processes."""
    text = config.get_text_config(decoder=True)
    option = f"--tensor-parallel {count}"
    if count < 1:
        raise UserError(f"--tensor-parallel must be 1 or more; got {count}")
    if device_map is not None:
        raise UserError(f"{option} and --device-map both spread the model; give one of them")
    there = torch.accelerator.current_accelerator() or torch.device("cpu")
    if device.type != there.type or device.index is not None:
        raise UserError(
            f"{option} puts each process on a device of its own, the {there.type} of its number; "
            f"got --device {device}, leave it out"
        )
    if getattr(config, "quantization_config", None) is not None:
        raise UserError(f"{option} does not support quantised weights; give --device-map auto instead")
    if not getattr(text, "base_model_tp_plan", None):
        raise UserError(
            f"transformers has no plan by which {text.model_type!r} models are held by several processes; "
            "give --device-map auto instead"
        )
    for name, words in (("num_attention_heads", "query heads"), ("num_key_value_heads", "key-value heads")):
        counts = getattr(text, name, None) or 0
        for heads in counts if isinstance(counts, list | tuple) else [counts]:
            if heads % count:
                raise UserError(
                    f"{option} does not fit {heads} {words}, which must be a multiple of it; "
                    "give a number that divides them, or --device-map auto instead"
                )
