"""Each attention by itself against the fused kernel, at the checkpoint's head layout."""

from collections.abc import Iterator

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.measuring import Call as Work
from benchmarks.measuring import Comparison, Side, ready
from benchmarks.subject import Subject
from ssmax_eval.attention import ATTENTIONS, LSSAR, Call, Visible
from ssmax_eval.attention.kernels import native, normalised

FUSED = "fused causal sdpa"
SPREAD = 2.0
"""Standard deviation of the scores z: between the 1 of random weights and what trained heads show."""


def comparisons(subject: Subject) -> Iterator[Comparison]:
    """One layer of every attention at each length."""
    for length in subject.lengths:
        yield Comparison(
            section="attention",
            title=f"one layer, {length:,} tokens",
            against=FUSED,
            sides=_sides(subject, length),
            length=length,
        )


def _sides(subject: Subject, length: int) -> dict[str, Side]:
    config = subject.checkpoint.config.get_text_config(decoder=True)
    device, dtype = subject.device, subject.dtype
    heads = config.num_attention_heads
    groups = getattr(config, "num_key_value_heads", None) or heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    generator = torch.Generator().manual_seed(0)

    def drawn(count: int, spread: float) -> torch.Tensor:
        return (spread * torch.randn(1, count, length, width, generator=generator)).to(device, dtype)

    query, key, value = drawn(heads, SPREAD), drawn(groups, 1.0), drawn(groups, 1.0)
    scaling = width**-0.5
    call = Call(query, key, value, Visible(length, length), scaling)

    def fused() -> torch.Tensor:
        return scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=heads != groups
        )

    def rewritten(name: str) -> Work:
        attention = ATTENTIONS[name]().resolve(subject.checkpoint.shape)
        return lambda: attention.forward(call)

    def in_place() -> torch.Tensor:
        q, k, soft = LSSAR().argument(call)
        return normalised.in_place(q, k, value.float(), soft, int(LSSAR().p))

    sides: dict[str, Side] = {FUSED: ready(fused), **{name: ready(rewritten(name)) for name in ATTENTIONS}}
    if device.type == "cpu" and native.library() is not None:
        sides["lssar, no compiler"] = ready(in_place)
    return sides
