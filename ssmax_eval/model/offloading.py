"""Keys and values that are kept in the processor's memory, and brought to the device one layer at a time.

So the device needs room for the keys and values of two layers, instead of all. It is slower: every pass, and every
token that is written, moves all of them. transformers' own offloaded cache joins old and new keys in a new tensor at
every piece, and works with CUDA only.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssmax_eval.checkpoint.sizes import sizes_of
from ssmax_eval.errors import UserError
from ssmax_eval.memory import SHARE, available

CHOICES = ("auto", "on", "off")
"""What `--offload-cache` takes. auto: where keys and values need more than SHARE of the device's free memory."""
GIB = 1 << 30


class Keep(NamedTuple):
    """Where a cache keeps keys and values."""

    away: bool = False
    """In the processor's memory, instead of on the device."""
    spread: bool = False
    """On several devices, each layer on its own."""


HERE = Keep()
"""On the device where the model is."""


def cache_bytes(config: Any, dtype: torch.dtype, tokens: int) -> int:
    """Return the bytes of the keys and values of all layers, for one text of so many tokens."""
    return sizes_of(config).cache * tokens * dtype.itemsize


def goes_away(choice: str, need: int, free: int) -> bool:
    """Whether a cache of `need` bytes is kept in the processor's memory, with `free` bytes on the device."""
    return choice == "on" or (choice == "auto" and need > SHARE * free)


def refuse_too_large(need: int, free: int) -> None:
    """Raise UserError where the processor's memory cannot hold a cache either."""
    if need > free:
        raise UserError(
            f"keys and values take {need / GIB:.1f} GiB, and the processor has {free / GIB:.1f} GiB free; "
            "give shorter --lengths, or --dtype bfloat16"
        )


def said(choice: str, need: int, device: torch.device, free: int, processor: int) -> str:
    """Return what a dry run says of a cache: where it will be kept, if that is not the device."""
    if device.type == "cpu" or not goes_away(choice, need, free):
        return ""
    fits = "" if need <= processor else f", which has {processor / GIB:.1f} GiB free: too little, such cells will fail"
    return (
        f"Keys and values of the longest text take {need / GIB:.1f} GiB, with {max(free, 0) / GIB:.1f} GiB free on "
        f"{device}: they are kept in the processor's memory (--offload-cache {choice}){fits}."
    )


def empty_on_processor(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return an empty tensor in the processor's memory, pinned where a GPU reads it and there is plenty.

    Pinned memory is copied faster, and while the GPU computes. torch takes up to twice of it.
    """
    size = torch.Size(shape).numel() * dtype.itemsize
    pin = torch.cuda.is_available() and 2 * size < SHARE * available(torch.device("cpu"))
    return torch.empty(shape, dtype=dtype, pin_memory=pin)


class Ahead:
    """Brings what the next layer keeps to the device, while one computes."""

    def __init__(self) -> None:
        self._for: Any = None
        self._there: tuple[Tensor, ...] = ()
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def begin(self, layer: Any, kept: tuple[Tensor, ...], start: int, stop: int, device: torch.device) -> None:
        """Begin to bring the first `start` tokens of keys and values [B, K, .., D], with room for `stop`."""
        there = tuple(x.new_empty(*x.shape[:2], stop, x.shape[3], device=device) for x in kept)
        if device.type != "cuda":
            _copy(kept, there, start)
        else:
            if device not in self._streams:
                self._streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            stream = self._streams[device]
            stream.wait_stream(torch.cuda.current_stream(device))  # whose memory it may be given
            with torch.cuda.stream(stream):
                _copy(kept, there, start)
            for x in there:
                x.record_stream(stream)
        self._for, self._there = (layer, start, stop, device), there

    def take(
        self, layer: Any, kept: tuple[Tensor, ...], start: int, stop: int, device: torch.device
    ) -> tuple[Tensor, ...]:
        """Return keys and values of a layer on the device, [B, K, stop, D]; those from `start` on are not filled."""
        if self._for != (layer, start, stop, device):  # nothing was begun, or a pass was given up in the middle
            self.begin(layer, kept, start, stop, device)
        if (stream := self._streams.get(device)) is not None:
            torch.cuda.current_stream(device).wait_stream(stream)
        there = self._there
        self._for, self._there = None, ()
        return there


def _copy(kept: tuple[Tensor, ...], there: tuple[Tensor, ...], start: int) -> None:
    """Copy the first tokens, each head by itself: only those lie in one piece."""
    for source, target in zip(kept, there, strict=True):
        for batch in range(source.shape[0]):
            for head in range(source.shape[1]):
                target[batch, head, :start].copy_(source[batch, head, :start], non_blocking=True)
