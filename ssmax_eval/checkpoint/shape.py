"""The shape of a checkpoint: what an attention needs to know of it, read from its config."""

from typing import Any

from ssmax_eval.attention import Shape
from ssmax_eval.attention.unrewritten import NAME
from ssmax_eval.checkpoint.config import from_config
from ssmax_eval.errors import UserError, shown

MOST = 10_000
"""Layers, and heads of a layer, of the largest model that is tried; building more would take minutes."""

LONGEST = 1 << 40
"""Tokens of the longest training length that is believed."""


def shape_of(config: Any, train_length: int | None = None, from_weights: Any = None) -> Shape:
    """Return layers, heads and training length of a transformers config, and what is in the way of rewriting it.

    `from_weights` are the attention parameters that the checkpoint's weights hold.
    """
    text = config.get_text_config(decoder=True)
    if train_length is not None and not 1 <= train_length <= LONGEST:
        raise UserError(f"--train-length must be 1 to {LONGEST:,} tokens; got {shown(train_length)}")
    layers, heads = (_count(text, name) for name in ("num_hidden_layers", "num_attention_heads"))
    if max(layers, heads) > MOST:
        raise UserError(
            f"the config of this {text.model_type!r} checkpoint names {shown(layers)} layers and {shown(heads)} heads; "
            f"{MOST:,} are the most that are tried"
        )
    length = train_length or getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    if length and (not isinstance(length, int) or length < 1):
        raise UserError(f"a training length must be 1 token or more; got {shown(length)}")
    refusal = None
    if not layers or not heads:
        refusal = (
            f"no layer of a {text.model_type!r} model attends by queries and keys, so it cannot be rewritten; "
            f"--attention {NAME} runs it as it is"
        )
    elif not length:
        refusal = (
            f"the config of this {text.model_type!r} checkpoint names no training length; give --train-length, "
            f"or --attention {NAME} to run it as it is"
        )
    kinds = getattr(text, "layer_types", None) or []
    full = tuple(i for i, kind in enumerate(kinds) if kind == "full_attention") if len(set(kinds)) > 1 else None
    return Shape(layers, heads, int(length or 0), from_weights or {}, full, from_config(config), refusal)


def _count(text: Any, name: str) -> int:
    """A whole number of the config, 0 where it is not there. UserError for anything else."""
    value = getattr(text, name, None) or 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(
            f"{name} in the config of this {text.model_type!r} checkpoint must be a whole number from 0; "
            f"got {shown(value)}"
        )
    return value
