"""Causal attention with weights L1(f(x)), f softplus or exp, and its re-weighting: the fast path of `lssa`.

Float32 on the CPU, without gradient. The scores of a block of rows are changed in place; the output is divided by
the row's sum instead of the weights. Memory beyond query, key and output does not grow with T · S.
"""

import math

import torch
from torch import Tensor

from ssmax_eval.attention.call import Call
from ssmax_eval.attention.functions import log_softplus, rounding
from ssmax_eval.attention.kernels import native

NUMBERS = 1 << 22
"""Scores that exist at a time without a compiler (16 MiB, twice)."""
LEAST_ROWS = 128
"""Rows below which the definition is as fast."""


def plain(call: Call, p: float | None) -> bool:
    """Whether a kernel can compute a call: plainly causal, worth it, and nobody wants gradients.

    `p` is the power of the re-weighting, None without one.
    """
    return (
        call.visible.mask is None
        and not call.extras.names()
        and call.visible.rows >= LEAST_ROWS
        and (p is None or p in range(1, 65))
        and not call.learns
    )


def takes(call: Call, p: float | None) -> bool:
    """Whether `attend` can compute a call."""
    return plain(call, p) and all(
        x.device.type == "cpu" and x.dtype != torch.float64 for x in (call.query, call.key, call.value)
    )


def attend(query: Tensor, key: Tensor, value: Tensor, soft: bool, p: float | None) -> Tensor:
    """Return the output [B, H, T, width of value] for x = q·k; all tensors are float32.

    `query` is [B, H, T, D], `key` [B, K, S, D], `value` [B, K, S, width].
    `soft`: f is softplus, else exp. `p`: power of the re-weighting, None without one.
    """
    power = None if p is None else int(p)
    if (kernel := native.library()) is not None:
        return native.attend(kernel, query, key, value, soft, power)
    return in_place(query, key, value, soft, power)


def in_place(query: Tensor, key: Tensor, value: Tensor, soft: bool, p: int | None) -> Tensor:
    """Return the same by torch's own operations."""
    batch, heads, rows, depth = query.shape
    groups, keys = key.shape[1:3]
    folded = query.reshape(batch * groups, heads // groups, rows, depth)
    key, value = key.flatten(0, 1).transpose(1, 2), value.flatten(0, 1)
    output = query.new_empty(*folded.shape[:3], value.shape[-1])
    per_row = batch * heads
    store = query.new_empty(2, min(max(NUMBERS, per_row * keys), per_row * rows * keys))
    start = 0
    while start < rows:
        past = keys - rows + start
        fitting = (math.sqrt(past**2 + 4 * store.shape[1] / per_row) - past) / 2  # step · (past + step) numbers
        step = min(max(1, int(fitting)), rows - start)
        seen = past + step
        z, spare = (x[: per_row * step * seen].view(batch * groups, -1, seen) for x in store)
        torch.bmm(folded[:, :, start : start + step].flatten(1, 2), key[:, :, :seen], out=z)
        future = torch.ones(step, step, dtype=torch.bool).triu(1)
        z.view(*folded.shape[:2], step, seen)[..., past:].masked_fill_(future, -torch.inf)
        n = torch.arange(past + 1, seen + 1, dtype=z.dtype).repeat(heads // groups)[:, None]
        total = _weigh(z, spare, n, soft, p)
        done = torch.bmm(z, value[:, :seen]).div_(total.masked_fill(total == 0, 1.0))
        output[:, :, start : start + step] = done.view(*folded.shape[:2], step, -1)
        start += step
    return output.view(batch, heads, rows, -1)


def _weigh(z: Tensor, spare: Tensor, n: Tensor, soft: bool, p: int | None) -> Tensor:
    """Turn scores z [.., R, S] into weights, in place, but for the division by the sum of each row; return that sum."""
    top = z.amax(-1, keepdim=True)
    if soft and bool((top > -20.0).all()):
        torch.ops.aten.softplus.out(z, out=z)
        top = torch.nn.functional.softplus(top)
    else:
        if soft:  # softplus underflows in some row: log softplus does not, and exp of it may be shifted
            z.copy_(log_softplus(z))
            top = z.amax(-1, keepdim=True)
        z.sub_(top).exp_()
        top = torch.ones_like(top)
    total = z.sum(-1, keepdim=True)
    if p is None:
        return total
    cut, o = rounding(z.dtype), (n > 3).to(z.dtype)
    most = top * (n / total) - o
    scale = torch.where(most < cut, 1.0, 1.0 / most)
    torch.addcmul(-o * scale, z, n / total * scale, out=z)
    z.masked_fill_(z < cut * scale, 0.0)
    _raise(z, spare, p)
    return z.sum(-1, keepdim=True)


def _raise(x: Tensor, spare: Tensor, p: int) -> None:
    """Raise x to the power p, in place, by squaring and multiplying from the highest bit of p down."""
    spare.copy_(x)
    for bit in bin(p)[3:]:
        x.square_()
        if bit == "1":
            x.mul_(spare)
