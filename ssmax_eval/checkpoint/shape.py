"""The shape of a checkpoint: what an attention needs to know of it, read from its config."""

from typing import Any

from ssmax_eval.attention import Shape
from ssmax_eval.attention.unrewritten import NAME
from ssmax_eval.checkpoint.config import from_config


def shape_of(config: Any, train_length: int | None = None, from_weights: Any = None) -> Shape:
    """Return layers, heads and training length of a transformers config, and what is in the way of rewriting it.

    `from_weights` are the attention parameters that the checkpoint's weights hold.
    """
    text = config.get_text_config(decoder=True)
    length = train_length or getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    layers, heads = (int(getattr(text, name, 0)) for name in ("num_hidden_layers", "num_attention_heads"))
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
