"""Attention that keeps the keys above a threshold: the fast path of entmax, sparsemax and top-k softmax.

On the CPU, without gradient. Scores of a few rows are made, weighed in place while they are in the processor's cache,
and used. Memory beyond query, key and output does not grow with T · S.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ssmax_eval.attention.call import Call
from ssmax_eval.attention.functions import at_least_float32

NUMBERS = 1 << 20
"""Scores that exist at a time (4 MiB in float32, twice)."""
LEAST_ROWS = 32
"""Rows below which the definition is as fast."""
MOST = 200
"""Newton's steps to a threshold; some dozen are enough in practice."""

Weigh = Callable[[Tensor, Tensor], None]
"""Turns scores [.., R, S] into weights, in place; −inf is not visible. The second tensor is scratch of that size."""


def takes(call: Call) -> bool:
    """Whether the functions below can compute a call: on the CPU, worth it, without gradients and extras."""
    return (
        not call.extras.names()
        and call.visible.rows >= LEAST_ROWS
        and not torch.is_grad_enabled()
        and all(x.device.type == "cpu" for x in (call.query, call.key, call.value))
    )


def attend_entmax(call: Call, alpha: float, factor: Tensor | None = None) -> Tensor:
    """Return the output of α-entmax, [B, H, T, width of value]; `factor` [.., H or 1, T, 1] is for the queries."""
    scale = (alpha - 1.0) * call.scaling
    return _attend(call, scale if factor is None else scale * factor, partial(_entmax, power=1.0 / (alpha - 1.0)))


def attend_topk(call: Call, k: int) -> Tensor:
    """Return the output of softmax over the k largest scores, [B, H, T, width of value]."""
    return _attend(call, call.scaling, partial(_topk, k=k))


def _attend(call: Call, scale: Tensor | float, weigh: Weigh) -> Tensor:
    query, key, value = (at_least_float32(x) for x in (call.query, call.key, call.value))
    query = query * scale
    batch, heads, rows, depth = query.shape
    groups, keys = key.shape[1:3]
    folded = query.reshape(batch * groups, heads // groups, rows, depth)
    key, value = key.flatten(0, 1).transpose(1, 2), value.flatten(0, 1)
    output = query.new_empty(*folded.shape[:3], value.shape[-1])
    per_row = batch * heads
    step = max(1, min(rows, NUMBERS // (per_row * keys)))
    store = query.new_empty(2, per_row * step * keys)
    for start in range(0, rows, step):
        count = min(step, rows - start)
        seen = call.keys_until(start + count)
        z, spare = (x[: per_row * count * seen].view(batch * groups, -1, seen) for x in store)
        torch.bmm(folded[:, :, start : start + count].flatten(1, 2), key[:, :, :seen], out=z)
        _hide(z.view(batch, heads, count, seen), call, start)
        weigh(z, spare)
        output[:, :, start : start + count] = torch.bmm(z, value[:, :seen]).view(*folded.shape[:2], count, -1)
    output = output.view(batch, heads, rows, -1).to(call.query.dtype)
    blind = None if call.visible.mask is None else call.visible.counts(output.device) == 0
    return output if blind is None else output.masked_fill(blind, 0.0)


def _hide(z: Tensor, call: Call, start: int) -> None:
    """Put −inf in place of the scores [B, H, R, S] that rows from `start` on may not see."""
    rows = torch.arange(start, start + z.shape[2])
    if call.visible.mask is None:  # all but the last keys are seen by every row
        z, first = z[..., -len(rows) :], z.shape[-1] - len(rows)
        z.masked_fill_(~call.visible.at(rows)[..., first : first + len(rows)], -torch.inf)
    else:
        z.masked_fill_(~call.visible.at(rows), -torch.inf)


def _entmax(x: Tensor, spare: Tensor, power: float) -> None:
    top = x.amax(-1, keepdim=True)
    x.sub_(top.masked_fill_(top == -torch.inf, 0.0))
    if power not in (1.0, 2.0):  # its powers are slow, so they are taken of the few that can be above the threshold
        most = int((x > -1.0).sum(-1).amax())
        if most <= x.shape[-1] // 2:
            few, places = x.topk(max(1, most), -1, sorted=False)
            _raise(few, torch.empty_like(few), power)
            x.zero_().scatter_(-1, places, few)
            return
    _raise(x, spare, power)


def _raise(x: Tensor, spare: Tensor, power: float) -> None:
    """Turn x, at most 0, into relu(x − τ)^power that sums to 1, in place."""
    tau = x.new_full((*x.shape[:2], 1), -1.0)
    for _ in range(MOST):
        torch.sub(x, tau, out=spare)
        spare.clamp_(min=0.0)
        if power == 1.0:
            total, slope = spare.sum(-1, keepdim=True), spare.sign_().sum(-1, keepdim=True)
        elif power == 2.0:
            total = torch.linalg.vector_norm(spare, dim=-1, keepdim=True).square()
            slope = 2.0 * spare.sum(-1, keepdim=True)
        else:
            total = (power * spare.log_()).exp_().sum(-1, keepdim=True)
            slope = power * spare.mul_(power - 1.0).exp_().sum(-1, keepdim=True)
        step = (total - 1.0) / slope
        tau += step.clamp(min=0.0)
        if bool((step <= 8 * torch.finfo(tau.dtype).eps).all()):
            break
    x.sub_(tau).clamp_(min=0.0)
    if power == 2.0:
        x.square_()
    elif power != 1.0:
        x.log_().mul_(power).exp_()


def _topk(z: Tensor, spare: Tensor, k: int) -> None:
    if k < z.shape[-1]:
        least = z.topk(k, -1, sorted=False).values.amin(-1, keepdim=True)
        z.masked_fill_(z < least, -torch.inf)
    torch.softmax(z, -1, out=z)
