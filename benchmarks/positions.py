"""Softmax under each position map against the fused kernel at the model's own positions, at the checkpoint's heads."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from benchmarks.layer import FUSED, fused, layer_call
from benchmarks.measuring import Call as Work
from benchmarks.measuring import Comparison, Side, ready
from benchmarks.subject import Subject
from ssmax_eval.attention import Softmax
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
    call, device = layer_call(subject, length), subject.device
    width = call.query.shape[-1]
    rotation = Rotation(BASE ** -(torch.arange(width // 2, device=device).float() * 2 / width), "halves")

    def under(name: str) -> Work:
        position = POSITIONS[name]().resolve(subject.checkpoint.shape)

        def work() -> torch.Tensor:
            placed = Mapped(position, rotation, Places.plain(length, length, device))
            return Softmax().forward(replace(call, placed=placed))

        return work

    return {FUSED: fused(call), **{name: ready(under(name)) for name in POSITIONS}}
