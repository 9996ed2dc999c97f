"""The functions that definitions are made of. A row is the last axis; z are scores, a are weights."""

from contextlib import nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Return x in float32, or in its own dtype where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rounding(dtype: torch.dtype) -> float:
    """Return the size below which n · a − 1, for weights a that are all equal, is not zero by rounding alone."""
    return 16 * torch.finfo(dtype).eps


def products(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """Return scaling · q·k of every row and key, [B, H, R, S]; at least float32, whatever the model's dtype.

    `query` is [B, H, R, D] and `key` [B, K, S, D]. Grouped queries share their key head without copying it.
    """
    query, key = at_least_float32(query), at_least_float32(key)
    batch, heads, rows, width = query.shape
    groups = key.shape[1]
    folded = query.reshape(batch, groups, heads // groups * rows, width)
    kind = query.device.type
    with torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext():
        z = folded @ key.transpose(-1, -2)
    return z.mul_(scaling).view(batch, heads, rows, key.shape[2])


def weighted_sum(weights: Tensor, value: Tensor) -> Tensor:
    """Return Σ_j weights_ij · v_j, [B, H, R, width of value], with `value` [B, K, S, width] shared by its group."""
    batch, heads, rows, keys = weights.shape
    groups = value.shape[1]
    folded = weights.reshape(batch, groups, heads // groups * rows, keys)
    return (folded @ value.to(weights.dtype)).view(batch, heads, rows, value.shape[-1])


def masked_softmax(z: Tensor, visible: Tensor, sink: Tensor | None = None) -> Tensor:
    """Return the softmax of each row over its visible keys; a row that sees none is all zeros.

    With a `sink` ([B or 1, H, R or 1, 1]) the softmax is over the keys and the sink, whose own weight is left out.
    """
    z = z.masked_fill(~visible, -torch.inf)
    if sink is not None:
        z = torch.cat((z, sink.to(z.dtype).expand(*z.shape[:-1], 1)), -1)
    return z.softmax(-1)[..., : visible.shape[-1]].masked_fill(~visible, 0.0)


def l1_normalised(x: Tensor) -> Tensor:
    """Return each row (non-negative) divided by its sum; a row of zeros stays zeros."""
    total = x.sum(-1, keepdim=True)
    return x / total.masked_fill(total == 0, 1.0)


def l2_normalised(x: Tensor) -> Tensor:
    """Return vectors (last axis) of length 1, at least float32; a vector of zeros stays zeros."""
    wide = at_least_float32(x)
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    unit: Tensor = wide / length.masked_fill(length == 0, 1.0)
    return unit


def log_softplus(x: Tensor) -> Tensor:
    """Return log(softplus(x)), also where softplus itself would underflow; L1(softplus(x)) is the softmax of this."""
    # Each branch is kept where it is finite: the one not taken would make NaN of the gradient.
    low, high = x.clamp(max=-15.0), x.clamp(min=-15.0)
    return torch.where(x > -15.0, torch.logaddexp(high, x.new_zeros(())).log(), low - 0.5 * low.exp())
