"""What transformers passes to an attention function, read into what ours takes, or refused by name."""

from typing import Any

import torch
from torch import Tensor, nn

from ssmax_eval.attention import Extras, Visible
from ssmax_eval.errors import UserError

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
"""Arguments of a call that change nothing here; the mask already says what a sliding window hides."""
SINKS = ("s_aux", "sinks")
"""Names under which an architecture hands over its sinks."""


def refuse_unhonoured(module: nn.Module, dropout: float, others: dict[str, Any]) -> None:
    """UserError when a call asks for something that would be lost."""
    name = type(module).__name__
    if dropout:
        raise UserError(f"attention dropout is not supported here; given {dropout}, 0 would work")
    if getattr(module, "is_causal", True) is False or others.pop("is_causal", True) is False:
        raise UserError(f"{name} is not causal; only causal attention can be rewritten")
    if getattr(module, "compressor", None) is not None:
        raise UserError(f"{name} attends to compressed keys, each of which stands for many; it is not supported")
    for argument, value in others.items():
        if argument not in HARMLESS and value is not None and value is not False:
            raise UserError(
                f"{name} calls its attention with {argument!r}, which is not honoured yet; "
                "the numbers would be wrong, so this architecture is refused"
            )


def layer_of(module: nn.Module) -> int:
    """The layer that an attention module belongs to. UserError when several layers share it."""
    layer = getattr(module, "layer_idx", None)
    if layer is None or int(layer) < 0:
        raise UserError(f"{type(module).__name__} does not know its layer: several share it, which is not supported")
    return int(layer)


def read_mask(mask: Tensor | None, rows: int, keys: int) -> tuple[Visible, Tensor | None]:
    """Which keys each row may see, and the bias that an additive mask holds besides, if any."""
    if mask is None or mask.dtype == torch.bool:
        return Visible(rows, keys, None if mask is None else mask[..., :keys]), None
    mask = mask[..., :keys]
    hidden = mask <= torch.finfo(mask.dtype).min / 2
    bias = mask.masked_fill(hidden, 0)
    return Visible(rows, keys, ~hidden), bias if bool(bias.any()) else None


def read_extras(others: dict[str, Any], mask_bias: Tensor | None) -> Extras:
    """Soft-capping, biases and sinks, taken out of the arguments `others`."""
    bias = others.pop("position_bias", None)
    if mask_bias is not None:
        bias = mask_bias if bias is None else bias + mask_bias
    sink = next((s for name in SINKS if (s := others.pop(name, None)) is not None), None)
    if sink is not None and sink.ndim == 1:
        sink = sink[None, :, None, None]
    return Extras(others.pop("softcap", None), bias, sink)


def narrowed(visible: Visible, chosen: Tensor, device: torch.device) -> Visible:
    """What rows see once an indexer has chosen keys for each: int64 [B, T, keys chosen]."""
    mask = visible.block(0, visible.rows, device)
    kept = torch.zeros(len(chosen), visible.rows, visible.keys, dtype=torch.bool, device=device)
    return Visible(visible.rows, visible.keys, mask & kept.scatter(-1, chosen.long(), True)[:, None])
