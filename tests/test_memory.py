"""Plans follow the memory that is there."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ssmax_eval import memory
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.run import estimate

CPU = torch.device("cpu")
MIB = 1 << 20


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
