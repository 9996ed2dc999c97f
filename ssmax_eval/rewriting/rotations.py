"""How a model turns the queries and keys of each layer: found, and proved, on its own calls."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ssmax_eval.attention import Attention, Call
from ssmax_eval.checkpoint.rope import length_dependent, tables_of
from ssmax_eval.errors import UserError
from ssmax_eval.positions import Rotation
from ssmax_eval.positions.contract import refuse_own_products
from ssmax_eval.positions.rotation import Style
from ssmax_eval.rewriting.canary import LENGTH, inputs
from ssmax_eval.rewriting.log_scaling import FIRST, same_everywhere
from ssmax_eval.rewriting.rewriting import Rewriting

STYLES: tuple[Style, ...] = ("halves", "neighbours")
BOUND = {torch.float64: 1e-4, torch.float32: 1e-3}
"""How far a turned vector may lie from what the model gives, as a share of its length, by dtype; else 0.03."""


class _Seen(NamedTuple):
    """Queries or keys of one layer, made of one hidden state at many positions."""

    vectors: Tensor
    """[H, T, D]."""
    positions: Tensor
    """int64 [T]."""


@torch.inference_mode()
def rotations_of(hf: PreTrainedModel, rewriting: Rewriting) -> dict[int, Rotation | None]:
    """Return the rotation of every layer; None for one whose queries and keys do not turn.

    Each attention layer is given the same hidden state at all positions, at the beginning and at the end of the model's
    context. One of its queries and one of its keys, turned by the rotation from position to position, must be the
    others. UserError where no rotation does that, and where no layer turns.
    """
    name = type(hf).__name__
    if length_dependent(hf.config):
        raise UserError(
            "the RoPE of this model (dynamic NTK or LongRoPE) turns tokens by angles that depend on the length of the "
            "whole text, so cached keys cannot be turned to another position; it takes no position map"
        )
    calls = _calls(hf, rewriting)
    found = {layer: _fitting(hf, seen, f"layer {layer} of {name}") for layer, seen in calls.items()}
    if all(rotation is None for rotation in found.values()):
        raise UserError(f"{name} does not turn its queries and keys (it has no RoPE), so it takes no position map")
    return found


def _calls(hf: PreTrainedModel, rewriting: Rewriting) -> dict[int, list[_Seen]]:
    """Return the queries and the keys of every layer, [queries, keys]."""
    ids, _ = inputs(hf)
    _refuse_own_products(hf, rewriting, ids)
    longest = getattr(hf.config.get_text_config(decoder=True), "max_position_embeddings", None) or LENGTH
    passes: list[dict[int, Call]] = []
    starts = (0, max(0, longest - LENGTH))
    with same_everywhere(rewriting.modules):
        for start in starts:
            positions = torch.arange(start, start + LENGTH, device=ids.device)[None]
            calls: dict[int, Call] = {}
            passes.append(calls)

            def probe(_: Attention, call: Call, calls: dict[int, Call] = calls) -> None:
                calls[call.layer] = call

            try:
                with rewriting.running(probe):
                    hf(input_ids=ids, position_ids=positions, use_cache=False)
            except TypeError:
                raise UserError(f"{type(hf).__name__} takes no positions, so it takes no position map") from None
            finally:
                rewriting.calls.clear()
    rows = torch.arange(FIRST, LENGTH)
    at = torch.cat([rows + start for start in starts])
    return {
        layer: [
            _Seen(torch.cat([getattr(one[layer], which)[0, :, FIRST:] for one in passes], 1), at.to(ids.device))
            for which in ("query", "key")
        ]
        for layer in passes[0]
    }


def _refuse_own_products(hf: PreTrainedModel, rewriting: Rewriting, ids: Tensor) -> None:
    """Run tokens; raise UserError where the attention of a layer multiplies queries and keys by itself."""

    def probe(attention: Attention, call: Call) -> None:
        refuse_own_products(attention, call.block(0, call.visible.rows))

    try:
        with rewriting.running(probe):
            hf(input_ids=ids, use_cache=False)
    finally:
        rewriting.calls.clear()


def _fitting(hf: PreTrainedModel, seen: list[_Seen], where: str) -> Rotation | None:
    """Return the rotation that explains queries and keys, or None where they are the same at all positions."""
    bound = BOUND.get(hf.dtype, 0.03)
    if all(_error(one, None) < bound * 0.1 for one in seen):
        return None
    errors = [
        (max(_error(one, rotation) for one in seen), rotation)
        for rotation in _candidates(hf, seen[0].vectors.shape[-1])
    ]
    error, best = min(errors, key=lambda one: one[0], default=(float("inf"), None))
    if not error < bound:
        raise UserError(f"how {where} turns its queries and keys is not known here, so it takes no position map")
    return best


def _error(seen: _Seen, rotation: Rotation | None) -> float:
    """Return how far vectors lie from the first one, turned to their positions, as a share of the longest."""
    first, expected = seen.vectors[None, :, :1], seen.vectors[None, :, :1]
    if rotation is not None:
        turn = rotation.between(seen.positions[None, :1], seen.positions[None])
        expected = rotation.turned(first.expand(-1, -1, len(seen.positions), -1), turn)
    apart = (expected - seen.vectors[None]).double().norm(dim=-1).max()
    return float(apart / seen.vectors.double().norm(dim=-1).max().clamp(min=1e-12))


def _candidates(hf: PreTrainedModel, width: int) -> Iterator[Rotation]:
    """Yield the rotations that the model's own tables of frequencies allow for heads of a width."""
    for table in tables_of(hf).values():
        for name, frequencies in table.frequencies.items():
            turning = 2 * frequencies.numel()
            if frequencies.ndim != 1 or turning > width or "original" in name:
                continue
            for style in STYLES:
                for start in dict.fromkeys((0, width - turning)):
                    for sign in (1.0, -1.0):  # some architectures turn the other way
                        yield Rotation(sign * frequencies.detach().float(), style, start)
