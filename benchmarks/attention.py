"""Each attention by itself against the fused kernel, at the checkpoint's head layout."""

from collections.abc import Iterator

import torch

from benchmarks.layer import FUSED, fused, layer_call
from benchmarks.measuring import Call as Work
from benchmarks.measuring import Comparison, Side, ready
from benchmarks.subject import Subject
from ssmax_eval.attention import ATTENTIONS, LSSAR
from ssmax_eval.attention.kernels import native, normalised


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
    call = layer_call(subject, length)

    def rewritten(name: str) -> Work:
        attention = ATTENTIONS[name]().resolve(subject.checkpoint.shape)
        return lambda: attention.forward(call)

    def in_place() -> torch.Tensor:
        q, k, soft = LSSAR().argument(call)
        return normalised.in_place(q, k, call.value.float(), soft, int(LSSAR().p))

    sides: dict[str, Side] = {FUSED: fused(call), **{name: ready(rewritten(name)) for name in ATTENTIONS}}
    if subject.device.type == "cpu" and native.library() is not None:
        sides["lssar, no compiler"] = ready(in_place)
    return sides
