"""Put another attention into somebody else's model, for as long as a `with` block lasts.

transformers calls its attention through two registries: one for the function that attends, one for the function
that makes the mask. Both get an entry under a name of our own; nothing that is there is overwritten.
"""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from weakref import finalize

from accelerate import init_empty_weights
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedModel,
)

from ssmax_eval.attention import Attention, Shape, parse
from ssmax_eval.attention.unrewritten import NAME
from ssmax_eval.checkpoint.rope import attention_factor
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.errors import UserError
from ssmax_eval.positions import PositionMap
from ssmax_eval.positions import parse as parse_position
from ssmax_eval.rewriting import seam
from ssmax_eval.rewriting.backends import backend_of
from ssmax_eval.rewriting.canary import verify_rewriting
from ssmax_eval.rewriting.log_scaling import refuse_scaled_queries, refuse_scaling_twice
from ssmax_eval.rewriting.rewriting import Rewriting
from ssmax_eval.rewriting.rotations import rotations_of

log = logging.getLogger(__name__)
_numbers = itertools.count()


@contextmanager
def rewritten(
    hf: PreTrainedModel,
    attention: str | Attention,
    *,
    position: str | PositionMap | None = None,
    shape: Shape | None = None,
    verify: bool = True,
    lasting: bool = False,
) -> Iterator[Rewriting]:
    """Run `hf` with another attention inside the block; leaving it restores the model, unless `lasting`.

    `attention` is a specification such as "ssmax:s=0.2", or an Attention; `position` one such as "rerope:window=4096",
    or a PositionMap, None for the model's own positions. `shape` fills in the parameters that
    depend on the checkpoint; by default it is read from the model's config. With `verify`, a short forward pass
    first proves that the model is rewritten faithfully (see `canary`). UserError where it cannot be.
    """
    chosen = parse(attention) if isinstance(attention, str) else attention
    if not seam.calls_the_interface(hf):
        raise UserError(past_the_interface(type(hf).__name__))
    shape = shape if shape is not None else shape_of(hf.config)
    if shape.refusal is not None:
        raise UserError(shape.refusal)
    resolved = chosen.resolve(shape)
    if resolved.log_scaled:
        refuse_scaling_twice(hf.config)
    if resolved.ignores_scaling and (factor := attention_factor(hf)) != 1.0:
        _warn_of_factor(type(resolved).__name__, factor)
    rewriting = Rewriting(resolved, resolved.rewrites(shape))
    placed = parse_position(position) if isinstance(position, str) else position
    with _installed(hf, rewriting, lasting, keep_kernel=placed is None):
        if placed is not None:
            rewriting.rotations = rotations_of(hf, rewriting)
            rewriting.position = placed.resolve(shape)
        if verify:
            verify_rewriting(hf, rewriting)
            if resolved.log_scaled:
                refuse_scaled_queries(hf, rewriting)
        yield rewriting


def refuse_by_config(config: Any) -> None:
    """Raise UserError for a config whose architecture computes its attention by itself. No weights are needed."""
    cls = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if cls is None or seam.class_calls_the_interface(cls):
        return
    with init_empty_weights():
        hf = cls(config)
    if not seam.calls_the_interface(hf):  # a part of it may
        raise UserError(past_the_interface(cls.__name__))


def past_the_interface(name: str) -> str:
    """Return why an architecture cannot be rewritten that never asks transformers for its attention function."""
    return (
        f"{name} computes its attention by itself, past transformers' attention interface, so it cannot be rewritten; "
        f"--attention {NAME} runs it as it is"
    )


@lru_cache
def _warn_of_factor(name: str, factor: float) -> None:
    """Warn, once, that an attention takes cosines, in which YaRN's factor on queries and keys is lost."""
    log.warning(
        "%s takes cosines of queries and keys, so the factor %.4g that the RoPE of this checkpoint (YaRN or LongRoPE) "
        "puts on both has no effect",
        name,
        factor,
    )


@contextmanager
def _installed(hf: PreTrainedModel, rewriting: Rewriting, lasting: bool, *, keep_kernel: bool = True) -> Iterator[None]:
    """Register the rewriting under a name of its own, and make the model use that name inside the block.

    `keep_kernel`: the model keeps its own flex or flash kernel, where the attention only scales the query.
    """
    name, before = f"ssmax_eval_{next(_numbers)}", seam.implementations(hf)
    stays = False
    rewriting.backend = backend = backend_of(hf, rewriting.attention) if keep_kernel else None
    if backend is not None:
        name += f"_{backend.name.rsplit('/')[-1]}"  # models ask whether the name has flash in it
    AttentionInterface.register(name, rewriting.attend)
    AttentionMaskInterface.register(name, rewriting.mask if backend is None else backend.mask)
    try:
        if backend is None:
            hf.set_attn_implementation(name)
        else:
            for config, implementation in before:
                if implementation == backend.configured:
                    seam.set_implementation(config, name)
        yield
        stays = lasting
    finally:
        if stays:
            finalize(hf, seam.forget, name)
        else:
            seam.restore(before)
            seam.forget(name)
