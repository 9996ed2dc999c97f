"""LSSA and LSSAR on an NVIDIA GPU, in one kernel.

Only with cosines: scores then stay within log d log n, so that nothing underflows or overflows.
"""

import math
from contextlib import nullcontext
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ssmax_eval.attention.call import Call
from ssmax_eval.attention.functions import rounding
from ssmax_eval.attention.kernels.normalised import plain

WIDEST = 256
"""Width of a head beyond which its rows no longer fit a block."""
HALVES = (torch.bfloat16, torch.float16)


def takes(call: Call, p: float | None) -> bool:
    """Whether `attend` can compute a call."""
    return (
        call.query.device.type == "cuda"
        and plain(call, p)
        and all(
            x.dtype in (torch.float32, *HALVES) and x.shape[-1] <= WIDEST for x in (call.query, call.key, call.value)
        )
        and _runs_triton(call.query.device)
    )


@cache
def _runs_triton(device: torch.device) -> bool:
    known = torch.version.cuda is not None and find_spec("triton") is not None
    return known and torch.cuda.get_device_capability(device) >= (8, 0)


def attend(query: Tensor, key: Tensor, value: Tensor, p: float | None) -> Tensor:
    """Return the output [B, H, T, width of value] in the dtype of `query`; `p` is the power of LSSAR, None for LSSA.

    `query` [B, H, T, D] and `key` [B, K, S, D] as they come from the model. Their products are exact, and summed in
    float32; weights are rounded to the dtype of `value` before the last product, as in every fused attention.
    """
    from ssmax_eval.attention.kernels import triton_kernel

    batch, heads, rows, depth = query.shape
    groups, keys, width = value.shape[1:]
    query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
    n = torch.arange(keys - rows + 1, keys + 1, device=query.device, dtype=torch.float32)
    per_row = (math.log(depth) * n.log2() * _inverse(query)).contiguous()
    per_key = _inverse(key).contiguous()
    output = query.new_empty(batch, heads, rows, width)
    sizes = settings(query.dtype, depth, width)
    with torch.cuda.device(query.device) if query.is_cuda else nullcontext():
        triton_kernel.attend[-(-rows // sizes["M"]), batch * heads](
            *(query, key, value, per_row, per_key, output),
            *(*query.stride()[:3], *key.stride()[:3], *value.stride()[:3]),
            *(heads, heads // groups, rows, keys, depth, width),
            P=int(p or 0),
            CUT=rounding(torch.float32),
            **sizes,
        )
    return output


def settings(dtype: torch.dtype, depth: int, width: int) -> dict[str, Any]:
    """Return the sizes of the kernel's blocks: no register spills, and float32 keeps all of its digits in products."""
    padded = {"D": _power_of_two(depth), "W": _power_of_two(width)}
    wide = max(padded.values()) > 128
    if dtype in HALVES:
        blocks = {"M": 64 if wide else 128, "N": 32 if wide else 64, "PRECISION": "tf32"}
    else:
        blocks = {"M": 32 if wide else 64, "N": 16, "PRECISION": "ieee"}
    return {**padded, **blocks, "num_warps": 8, "num_stages": 2}


def _power_of_two(size: int) -> int:
    return max(16, 1 << (size - 1).bit_length())


def _inverse(x: Tensor) -> Tensor:
    """Return one over the length of each vector (last axis), float32; 0 for a vector of zeros."""
    length = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    return torch.where(length == 0, 0.0, 1.0 / length)
