"""How much memory there is, how much a call takes, and how large a block of attention weights may be."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import psutil
import torch

CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where Linux says what a container may use and what it uses, in its second and its first version."""

SHARE = 0.5
"""Share of the free memory that is planned with; the rest is for what the plan does not know of."""

T = TypeVar("T")


def available(device: torch.device) -> int:
    """Bytes that this process could still take on a device; on a CPU within the limit of its container."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    free = int(psutil.virtual_memory().available)
    for limit, used in CONTROL_GROUPS:
        try:
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return max(free, 0)


def block_numbers(most: int, device: torch.device, *, copies: int = 4, least: int = 1 << 18) -> int:
    """Attention weights to form at a time: `most`, or fewer where memory is tight.

    `copies` is how many float32 arrays of that size a definition holds at once.
    """
    return max(least, min(most, int(SHARE * available(device)) // (4 * copies)))


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What a call gave, and what it took."""

    result: T
    seconds: float
    extra_bytes: int
    """Peak of the memory held during the call, above what was held before it."""


def watched(call: Callable[[], T], device: torch.device) -> Watched[T]:
    """Run `call` on a device that is idle, and say how long it took and how much memory at most.

    On CUDA by torch's own account; on Linux by the resident set's high-water mark, which is reset first; elsewhere
    by looking at the resident set every millisecond.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result, seconds = timed(call, device)
        return Watched(result, seconds, torch.cuda.max_memory_allocated(device) - before)
    _give_back()
    before = psutil.Process().memory_info().rss
    with _HighWater() as mark:
        result, seconds = timed(call, device)
    return Watched(result, seconds, max(mark.bytes - before, 0))


def timed(call: Callable[[], T], device: torch.device) -> tuple[T, float]:
    """What `call` gives, and the seconds until the device is done with it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - start


def _give_back() -> None:
    """Have the C library return what it keeps of freed memory, which would hide what a call takes."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)


class _HighWater:
    """The most memory resident in this process while the block ran."""

    bytes = 0

    def __enter__(self) -> "_HighWater":
        self._ended = threading.Event()
        self._sampler: threading.Thread | None = None
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._sampler is not None:
            self._sampler.join()
        else:
            status = Path("/proc/self/status").read_text()
            self.bytes = 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, process.memory_info().rss)
            if self._ended.wait(0.001):
                return
