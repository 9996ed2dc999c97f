"""Models that already scale their scores by log position."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ssmax_eval.attention import Attention, Call
from ssmax_eval.checkpoint.conventions import FAMILIES, scales_itself
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting.canary import LENGTH, inputs
from ssmax_eval.rewriting.rewriting import Rewriting

FIRST = 8
"""Rows that are left out, because a short convolution in front of the queries begins with zeros."""
BOUND = {torch.float64: 1e-4, torch.float32: 1e-4}
"""How much the length of a query may change, as a share, by dtype; else 0.02."""


def refuse_scaling_twice(config: Any) -> None:
    """Raise UserError when a config says that its model scales its queries by log position."""
    if (name := scales_itself(config)) is not None:
        kind = config.get_text_config(decoder=True).model_type
        raise UserError(_refusal(kind, f"{name}, as in {FAMILIES[name]}"))


@torch.inference_mode()
def refuse_scaled_queries(hf: PreTrainedModel, rewriting: Rewriting) -> None:
    """Raise UserError when the length of a model's queries changes with their position. The model has run once.

    Every attention layer is given the same hidden state at all positions, at the beginning and at the end of the
    model's context. RoPE then turns the queries and leaves their length as it is; a scaling by position does not.
    """
    last = getattr(hf.config.get_text_config(decoder=True), "max_position_embeddings", None) or LENGTH
    ids, _ = inputs(hf)
    passes = []
    with same_everywhere(rewriting.modules):
        for start in (0, max(0, last - LENGTH)):
            positions = torch.arange(start, start + LENGTH, device=ids.device)[None]
            passes.append(_query_lengths(hf, rewriting, ids, positions))
    for begin, end in zip(*passes, strict=True):
        lengths = torch.cat((begin.lengths, end.lengths), -1)
        low, high = lengths.amin(-1), lengths.amax(-1)
        change = float((high / low.clamp(min=1e-12) - 1).max()) if bool(high.any()) else 0.0
        if change > BOUND.get(hf.dtype, 0.02):
            kind = hf.config.get_text_config(decoder=True).model_type
            raise UserError(_refusal(kind, f"their length changes from token to token in layer {begin.layer}"))


class _Queries(NamedTuple):
    """The queries of one call of attention."""

    layer: int
    lengths: Tensor
    """Euclidean, [B, H, rows after the first few]."""


def _query_lengths(hf: PreTrainedModel, rewriting: Rewriting, ids: Tensor, positions: Tensor) -> list[_Queries]:
    """Run tokens at given positions, or from 0 in a model that takes none; return the queries of each call."""
    found: list[_Queries] = []

    def probe(_: Attention, call: Call) -> None:
        found.append(_Queries(call.layer, torch.linalg.vector_norm(call.query[:, :, FIRST:].double(), dim=-1)))

    with rewriting.running(probe):
        try:
            hf(input_ids=ids, position_ids=positions, use_cache=False)
        except TypeError:
            found.clear()
            hf(input_ids=ids, use_cache=False)
        finally:
            rewriting.calls.clear()
    return found


def _refusal(kind: str, how: str) -> str:
    return (
        f"this {kind!r} model scales its queries by position already ({how}); doing it once more would scale them "
        "twice, so only softmax can run here; twice=true, as in ssmax:twice=true, does it nevertheless"
    )


@contextmanager
def same_everywhere(modules: Collection[nn.Module]) -> Iterator[None]:
    """Inside the block, give each module the first hidden state that it gets, always and at all positions."""
    states: dict[nn.Module, list[Tensor]] = {}

    def spread(m: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        width = (given["hidden_states"] if "hidden_states" in given else args[0]).shape[-1]
        every = [x for x in (*args, *given.values()) if _is_states(x, width)]
        first = states.setdefault(m, [x[:, :1] for x in every])
        same = {id(x): one.expand_as(x) for x, one in zip(every, first, strict=True)}
        return tuple(same.get(id(x), x) for x in args), {name: same.get(id(x), x) for name, x in given.items()}

    hooks = [m.register_forward_pre_hook(spread, with_kwargs=True) for m in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _is_states(x: Any, width: int) -> bool:
    """Whether an argument holds a hidden state for each token, [B, T, width]."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 3 and x.shape[-1] == width
