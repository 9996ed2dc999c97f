"""What a call takes is what it is seen to take."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import memory

CPU = torch.device("cpu")
MIB = 1 << 20


def held(mebibytes: int) -> int:
    """Fill so much memory, and let it go."""
    return len(torch.ones(mebibytes * MIB, dtype=torch.uint8))


def test_a_peak_is_seen_and_the_next_call_starts_afresh() -> None:
    held(8)
    large, small = memory.watched(lambda: held(256), CPU), memory.watched(lambda: held(32), CPU)
    assert large.result == 256 * MIB
    assert 250 * MIB < large.extra_bytes < 288 * MIB  # Linux counts in steps of some pages for each processor
    assert 26 * MIB < small.extra_bytes < 64 * MIB


GROWING = """
import torch
from benchmarks import memory

def growing():
    kept = []
    for mebibytes in range(4, 31):
        freed = torch.ones(mebibytes << 20, dtype=torch.uint8)
        kept.append(torch.ones(1 << 18, dtype=torch.uint8))
        del freed
    return kept

torch.ones(31 << 20, dtype=torch.uint8)  # freed at once: from here on glibc keeps blocks of that size
print(memory.watched(growing, torch.device("cpu")).extra_bytes)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_freed_blocks_are_not_counted() -> None:
    """A kept one behind every freed block, and each larger than the last: in a heap, none could be used again.

    In a process of its own, since the heap of a long one has room that is free for any block.
    """
    done = subprocess.run([sys.executable, "-c", GROWING], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * MIB


def test_where_the_mark_cannot_be_reset_it_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, *_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refused)

    def lasting() -> int:
        block = torch.ones(128 * MIB, dtype=torch.uint8)
        for _ in range(20):
            block.fill_(2)
        return len(block)

    assert 100 * MIB <= memory.watched(lasting, CPU).extra_bytes < 192 * MIB
