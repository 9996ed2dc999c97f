"""The attention that a checkpoint is to be served under, from its config and its weights."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ssmax_eval.attention import Attention
from ssmax_eval.checkpoint.config import KEY, from_config, into_config, own_parameters
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting.log_scaling import refuse_scaling_twice
from ssmax_eval.rewriting.register import parameters_in
from ssmax_eval.vllm.scaling import refuse_config, refuse_unservable


def served_attention(config: Any, place: str) -> Attention:
    """Return the attention that a transformers config names, with all parameters filled in.

    `place` is the checkpoint's folder or hub id; its weights are read where the config leaves a parameter to them.
    UserError where the config names none, or one that cannot be served.
    """
    named = from_config(config, Path(place))
    if named is None:
        raise UserError(f"the config of {place!r} names no attention under {KEY!r}; make it with ssmax-eval convert")
    shape = shape_of(config)
    if shape.refusal is not None:
        raise UserError(shape.refusal)
    found = parameters_in(place, shape.layers, shape.heads, shape.full, own_parameters(config))
    attention = named.resolve(replace(shape, from_weights=found))
    refuse_model(config, attention)
    return attention


def refuse_model(config: Any, attention: Attention) -> None:
    """Raise UserError where vLLM cannot run a model of this config under the attention."""
    refuse_unservable(attention)
    refuse_config(config, attention)
    if attention.log_scaled:
        refuse_scaling_twice(config)


def written(attention: Attention) -> dict[str, Any]:
    """Return an attention as a config holds it, which can be sent to another process."""
    holder = SimpleNamespace()
    into_config(holder, attention)
    entry: dict[str, Any] = getattr(holder, KEY)
    return entry


def read(entry: dict[str, Any]) -> Attention:
    """Return the attention that `written` gave."""
    attention = from_config(SimpleNamespace(**{KEY: entry}))
    assert attention is not None
    return attention
