"""How long a call takes, and how much memory at most."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's numbers for how much free memory it keeps, and for the size from which a freed block is returned."""
MOST_KEPT = 32 << 20
"""Bytes of the largest block that glibc keeps by itself, once blocks of that size were freed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Watched(Generic[T]):
    """What a call gave, and what it took."""

    result: T
    seconds: float
    extra_bytes: int
    """Peak of the memory held during the call, above what was held before it."""


def watched(call: Callable[[], T], device: torch.device) -> Watched[T]:
    """Run `call` on a device that is idle, and say how long it took and how much memory at most.

    On CUDA by torch's own account; on Linux by the resident set's high-water mark, which is reset first, while the C
    library returns what is freed; elsewhere by looking at the resident set every millisecond.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result, seconds = timed(call, device)
        return Watched(result, seconds, torch.cuda.max_memory_allocated(device) - before)
    with _given_back():
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


@contextmanager
def _given_back() -> Iterator[None]:
    """Inside the block the C library gives freed blocks of 1 MiB and more back; first it gives back what it has.

    Else a peak would follow from what ran before in this process: freed blocks stay in glibc's heap, and are of use
    to smaller ones only. Nothing is done where there is no glibc.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "malloc_trim"):  # musl has none
        yield
        return
    libc.mallopt(M_MMAP_THRESHOLD, 1 << 20)
    libc.mallopt(M_TRIM_THRESHOLD, 1 << 20)
    libc.malloc_trim(0)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, MOST_KEPT)
        libc.mallopt(M_TRIM_THRESHOLD, 2 * MOST_KEPT)


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
