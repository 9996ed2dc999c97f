"""Softmax of scores that are made of parts, under a position map: torch's fused kernel on each part.

In blocks of rows. In a part, the keys that all rows of a block see need no mask; at both ends of them a strip, about as
wide as the block, needs one. What the pieces give is weighed by their share of the sum, e^(log-sum-exp).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ssmax_eval.attention.call import Call, Part

ROWS = 256
"""Rows of a block."""


class Strip(NamedTuple):
    """Keys from `start` to `stop` - 1, and which of them each row sees."""

    start: int
    stop: int
    seen: Tensor | None
    """Boolean [R, keys]; None: every row sees all."""


def takes(call: Call) -> bool:
    """Whether `attend` can compute a call: plainly causal on a processor, and nobody wants gradients."""
    return (
        call.visible.mask is None
        and not call.extras.names()
        and call.query.device.type == "cpu"
        and call.query.shape[-1] == call.value.shape[-1]
        and not call.learns
    )


def attend(call: Call, factor: Callable[[Tensor], Tensor | None]) -> Tensor | None:
    """Return the output [B, H, T, width of value], or None where somebody wants gradients of the factor.

    `factor` gives what the scores of a row that sees n keys (int64 [1, 1, R, 1]) are multiplied by, or None for 1.
    """
    assert call.placed is not None
    query, before = call.query, call.visible.keys - call.visible.rows
    output = query.new_empty(*query.shape[:3], call.value.shape[-1])
    for start in range(0, query.shape[2], ROWS):
        rows = torch.arange(start, min(start + ROWS, query.shape[2]), device=query.device)
        block = query[:, :, start : start + ROWS]
        parts = [_visible(part, rows + before) for part in call.placed.parts(block, call.key, rows)]
        n = sum(((part.stop - part.first).clamp(min=0) for part in parts), torch.zeros_like(rows))
        c = factor(n[0, None, :, None])
        if c is not None and c.requires_grad and torch.is_grad_enabled():
            return None
        done = block.new_zeros(block.shape, dtype=torch.promote_types(block.dtype, torch.float32))
        total = done.new_full(done.shape[:3], -torch.inf)
        for part in parts:
            turned = part.query if c is None else (c * part.query).to(block.dtype)
            for strip in strips(part.first[0], part.stop[0]):
                piece, sums = _piece(turned, part.key, call.value, strip, call.scaling)
                share = torch.nan_to_num(sums - total, nan=-torch.inf).sigmoid()[..., None]
                done = torch.lerp(done, piece.to(done.dtype), share.to(done.dtype))
                total = torch.logaddexp(total, sums.to(total.dtype))
        output[:, :, start : start + ROWS] = done
    return output


def _visible(part: Part, own: Tensor) -> Part:
    """Return a part without keys that there are not, or that come after the row's own (int64 [R])."""
    stop = torch.minimum(part.stop, own + 1).clamp(min=0)
    return Part(part.query, part.key, torch.minimum(part.first.clamp(min=0), stop), stop)


def strips(first: Tensor, stop: Tensor) -> Iterator[Strip]:
    """Cut the keys `first` … `stop` − 1 of each row (int64 [R]) into strips; keys that no row sees are in none."""
    (low, inner), (outer, high) = first.aminmax(), stop.aminmax()
    edges = [int(x) for x in (low, inner, outer, high)]
    cuts = [(edges[0], edges[1]), (edges[1], edges[2]), (edges[2], edges[3])]
    if edges[1] >= edges[2]:  # no key is seen by all rows
        cuts = [(edges[0], edges[3])]
    for number, (start, end) in enumerate(cuts):
        if start >= end:
            continue
        keys = torch.arange(start, end, device=first.device)
        whole = len(cuts) == 3 and number == 1
        seen = None if whole else (keys >= first[:, None]) & (keys < stop[:, None])
        if seen is None or bool(seen.any()):
            yield Strip(start, end, seen)


def _piece(query: Tensor, key: Tensor, value: Tensor, strip: Strip, scaling: float) -> tuple[Tensor, Tensor]:
    """Attend to the keys of a strip: output [B, H, R, width] and the log-sum-exp of the scores, [B, H, R]."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    batch, heads, rows, width = query.shape
    groups = key.shape[1]
    folded = query.reshape(batch, groups, heads // groups * rows, width)  # a group shares its keys uncopied
    keys, values = (x[:, :, strip.start : strip.stop] for x in (key, value))
    mask = None
    if strip.seen is not None:
        mask = query.new_zeros(strip.seen.shape).masked_fill_(~strip.seen, -torch.inf)
        mask = mask.repeat(heads // groups, 1)[None, None]
    output, sums = flash(folded, keys, values, attn_mask=mask, scale=scaling)
    output, sums = output.reshape(batch, heads, rows, -1), sums.reshape(batch, heads, rows)
    if strip.seen is not None:  # a row that sees none has a sum of 0 there
        sums = sums.masked_fill(~strip.seen.any(-1), -torch.inf)
    return output, sums
