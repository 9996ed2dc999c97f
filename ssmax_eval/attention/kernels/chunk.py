"""Softmax of a chunk of queries behind a key-value cache: causal in the chunk, with everything before it visible.

A mask for it would be rows × keys large and leave the fused kernels; these need none.
"""

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention


def attend(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Return the output [B, H, T, width of value] where T < S and the last row sees every key."""
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    if query.device.type == "cpu" and not learns and query.shape[-1] == value.shape[-1]:
        return _merged(query, key, value, scaling)
    rows, keys, grouped = query.shape[2], key.shape[2], query.shape[1] != key.shape[1]
    seen: Tensor = causal_lower_right(rows, keys)  # the kernels of a GPU know it by its type
    if query.device.type != "cuda":
        seen = torch.ones(rows, keys, dtype=torch.bool, device=query.device).tril(keys - rows)
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scaling, enable_gqa=grouped)


def _merged(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Attend to the past and to the chunk apart, then weigh both by their share of the sum, e^(log-sum-exp)."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    batch, heads, rows, width = query.shape
    groups, past = key.shape[1], key.shape[2] - rows
    folded = query.reshape(batch, groups, heads // groups * rows, width)  # a group shares its keys uncopied
    before, sum_before = flash(folded, key[:, :, :past], value[:, :, :past], scale=scaling)
    ours = (x[:, :, past:].repeat_interleave(heads // groups, 1) for x in (key, value))
    within, sum_within = flash(query, *ours, is_causal=True, scale=scaling)
    share = (sum_before.reshape(batch, heads, rows) - sum_within).sigmoid()[..., None]
    return torch.lerp(within.to(share.dtype), before.reshape(within.shape).to(share.dtype), share).to(query.dtype)
