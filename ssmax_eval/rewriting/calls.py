"""From the arguments that transformers passes to an attention function to a `Call`, or a refusal that names them."""

from typing import Any

import torch
from torch import Tensor, nn

from ssmax_eval.attention import Call, Extras, Visible
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import seam
from ssmax_eval.rewriting.backends import Backend

HARMLESS = {
    "cache_position",
    "kernel_options",
    "logits_to_keep",
    "output_attentions",
    "output_hidden_states",
    "position_ids",
    "sliding_window",
    "use_cache",
}
"""Arguments that change nothing here; the mask already says what a sliding window hides."""
HIDES = -9984.0
"""Values of an additive mask that hide a key: this, which is -1e4 in bfloat16, or less. Beside a key that is not hidden
such a key has the weight exp(-10 000), which is 0 in every dtype. A larger value is a bias, as in ALiBi."""
SINKS = ("s_aux", "sinks")
"""Names under which an architecture passes its sinks."""


def read_call(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Any,
    scaling: float | None,
    dropout: float,
    others: dict[str, Any],
    *,
    backend: Backend | None,
    continuing: bool,
) -> Call:
    """Return the call that transformers makes of an attention function. UserError when part of it would be lost.

    `query`, `key` and `value` are [B, H or K, T or S, D]; `others` are the remaining arguments by name. `backend` is
    the kernel that the model keeps, and `continuing` whether a cache that grows holds the keys before the queries.
    """
    others = dict(others)
    rows, chosen, bias = query.shape[2], others.pop("indices", None), None
    visible: Visible
    if backend is not None and backend.takes(mask):
        visible = backend.visible(mask, query, key.shape[2], others)
        key, value = key[:, :, : visible.keys], value[:, :, : visible.keys]
    else:
        if mask is None and 1 < rows < key.shape[2] and not continuing:
            # An empty static cache being filled: only its first entries hold keys.
            key, value = key[:, :, :rows], value[:, :, :rows]
        visible, bias = read_mask(mask, rows, key.shape[2])
    extras = read_extras(others, bias)
    refuse_unhonoured(module, dropout, others)
    if chosen is not None:
        visible = limit(visible, chosen, query.device)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return Call(query, key, value, visible, scaling, layer_of(module), extras)


def refuse_unhonoured(module: nn.Module, dropout: float, others: dict[str, Any]) -> None:
    """Raise UserError when a call asks for something that would be lost."""
    name = type(module).__name__
    if dropout:
        raise UserError(f"attention dropout is not supported; got {dropout}, 0 would work")
    if getattr(module, "is_causal", True) is False or others.pop("is_causal", True) is False:
        raise UserError(f"{name} is not causal; only causal attention can be rewritten")
    if getattr(module, "compressor", None) is not None:
        raise UserError(f"{name} attends to compressed keys, each of which stands for many; it is not supported")
    for argument, value in others.items():
        if argument not in HARMLESS and value is not None and value is not False:
            raise UserError(
                f"{name} calls its attention with {argument!r}, which ssmax-eval does not support; "
                "ignoring it would give wrong numbers"
            )


def layer_of(module: nn.Module) -> int:
    """Return the layer that an attention module belongs to. UserError when several layers share it."""
    layer = seam.layer_index(module)
    if layer is None or layer < 0:
        raise UserError(f"several layers share one {type(module).__name__}; this is not supported")
    return layer


def read_mask(mask: Tensor | None, rows: int, keys: int) -> tuple[Visible, Tensor | None]:
    """Return which keys each row may see, and the bias that an additive mask holds besides, if any.

    A mask that is added to the scores hides a key by any value down from HIDES: -1e4, -1e9, the least of its dtype, or
    minus infinity.
    """
    if mask is None or mask.dtype == torch.bool:
        return Visible(rows, keys, None if mask is None else mask[..., :keys]), None
    mask = mask[..., :keys]
    hidden = mask <= HIDES
    bias = mask.masked_fill(hidden, 0)
    return Visible(rows, keys, ~hidden), bias if bool(bias.any()) else None


def read_extras(others: dict[str, Any], mask_bias: Tensor | None) -> Extras:
    """Return soft-capping, biases and sinks, and take them out of the arguments `others`."""
    bias = others.pop("position_bias", None)
    if mask_bias is not None:
        bias = mask_bias if bias is None else bias + mask_bias
    sink = next((s for name in SINKS if (s := others.pop(name, None)) is not None), None)
    if sink is not None and sink.ndim == 1:
        sink = sink[None, :, None, None]
    return Extras(others.pop("softcap", None), bias, sink)


def limit(visible: Visible, chosen: Tensor, device: torch.device) -> Visible:
    """Return what rows see once an indexer has chosen keys for each row: int64 [B, T, keys chosen]."""
    mask = visible.all(device)
    kept = torch.zeros(len(chosen), visible.rows, visible.keys, dtype=torch.bool, device=device)
    return Visible(visible.rows, visible.keys, mask & kept.scatter(-1, chosen.long(), True)[:, None])
