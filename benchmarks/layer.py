"""One layer of attention at the heads of a checkpoint, and the fused kernel on it."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.measuring import Side, ready
from benchmarks.subject import Subject
from ssmax_eval.attention import Call, Visible
from ssmax_eval.checkpoint.sizes import sizes_of

FUSED = "fused causal sdpa"
SPREAD = 2.0
"""Standard deviation of the scores z: between the 1 of random weights and what trained heads show."""


def layer_call(subject: Subject, length: int) -> Call:
    """Return a causal call of one layer on random queries, keys and values."""
    size, generator = sizes_of(subject.checkpoint.config), torch.Generator().manual_seed(0)

    def drawn(count: int, spread: float) -> Tensor:
        drawn = spread * torch.randn(1, count, length, size.width, generator=generator)
        return drawn.to(subject.device, subject.dtype)

    query, key, value = drawn(size.heads, SPREAD), drawn(size.groups, 1.0), drawn(size.groups, 1.0)
    return Call(query, key, value, Visible(length, length), size.width**-0.5)


def fused(call: Call) -> Side:
    """Return what the others are compared with: torch's fused softmax on the same call."""
    grouped = call.query.shape[1] != call.key.shape[1]

    def work() -> Tensor:
        return scaled_dot_product_attention(
            call.query, call.key, call.value, is_causal=True, scale=call.scaling, enable_gqa=grouped
        )

    return ready(work)
