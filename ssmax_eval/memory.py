"""How much memory there is, and how large a block of attention weights may be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

CONTROL_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where Linux says what a container may use and what it uses, in its second and its first version."""

SHARE = 0.5
"""Share of the free memory that is planned with; the rest is for what the plan does not know of."""


def available(device: torch.device) -> int:
    """Bytes that this process could still take on a device; on a CPU within the limit of its container."""
    if device.type == "cuda":
        import torch

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
