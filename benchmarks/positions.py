"""Softmax under each position map against the fused kernel at the model's own positions, at the checkpoint's heads."""

from collections.abc import Iterator

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.attention import FUSED, SPREAD
from benchmarks.measuring import Call as Work
from benchmarks.measuring import Comparison, Side, ready
from benchmarks.subject import Subject
from ssmax_eval.attention import Call, Softmax, Visible
from ssmax_eval.positions import POSITIONS, Mapped, Places, Rotation

BASE = 10_000.0
"""Of the rotation; it makes no difference to the time."""


def comparisons(subject: Subject) -> Iterator[Comparison]:
    """One layer under every position map at each length."""
    for length in subject.lengths:
        yield Comparison(
            section="positions",
            title=f"one layer under a position map, {length:,} tokens",
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
    rotation = Rotation(BASE ** -(torch.arange(width // 2, device=device).float() * 2 / width), "halves")

    def fused() -> torch.Tensor:
        return scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=heads != groups
        )

    def under(name: str) -> Work:
        position = POSITIONS[name]().resolve(subject.checkpoint.shape)

        def work() -> torch.Tensor:
            placed = Mapped(position, rotation, Places.plain(length, length, device))
            return Softmax().forward(Call(query, key, value, Visible(length, length), scaling, placed=placed))

        return work

    return {FUSED: ready(fused), **{name: ready(under(name)) for name in POSITIONS}}
