"""What a call takes is what it is seen to take; and plans follow the memory that is there."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ssmax_eval import estimate, memory
from ssmax_eval.loader import Checkpoint

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
from ssmax_eval import memory

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


def test_a_container_s_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "CONTROL_GROUPS", ((str(limit), str(used)),))
    free = memory.available(CPU)
    assert free > 256 * MIB
    limit.write_text(f"{300 * MIB}\n")
    used.write_text(f"{200 * MIB}\n")
    assert memory.available(CPU) == 100 * MIB
    used.write_text(f"{400 * MIB}\n")
    assert memory.available(CPU) == 0
    limit.write_text("max\n")
    assert memory.available(CPU) > 100 * MIB


def test_blocks_of_weights_shrink_only_when_memory_is_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda _: 1 << 34)
    assert memory.block_numbers(1 << 24, CPU) == 1 << 24
    monkeypatch.setattr(memory, "available", lambda _: 1 << 27)
    assert memory.block_numbers(1 << 24, CPU) == 1 << 22  # four float32 copies fill half of it
    monkeypatch.setattr(memory, "available", lambda _: 0)
    assert memory.block_numbers(1 << 24, CPU) == 1 << 18


def test_the_batch_pays_and_fits(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = Checkpoint(str(tiny_folder), device="cpu")
    assert [estimate.batch_size(checkpoint, n) for n in (64, 256, 512, 4096)] == [8, 2, 1, 1]
    monkeypatch.setitem(estimate.TOKENS, "cpu", 1 << 14)
    need = estimate.cell_bytes(checkpoint.config, torch.float32, 1024)
    for cells, free in ((16, 100 * need), (3, 6 * need), (1, 0)):
        monkeypatch.setattr(estimate, "available", lambda _, free=free: free)
        assert estimate.batch_size(checkpoint, 1024) == cells


def test_a_cell_needs_more_when_it_is_longer_or_wider(tiny_folder: Path) -> None:
    config: Any = Checkpoint(str(tiny_folder)).config
    short, long = (estimate.cell_bytes(config, torch.float32, n) for n in (1024, 2048))
    assert short < long < 2 * short + 1
    assert estimate.cell_bytes(config, torch.bfloat16, 1024) < short
