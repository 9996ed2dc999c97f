"""The model's own kernel, flex or flash, under an attention that only scales the query.

An attention of the family `ScaledSoftmax` needs n_i, the number of keys that each row sees, and a kernel that runs
softmax. Where the model runs flex or flash attention it keeps that kernel and its own mask; n_i is counted from what
that mask says, in blocks of rows, and the kernel gets the scaled query and everything else untouched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import flash_attention_mask, flex_attention_mask
from transformers.modeling_flash_attention_utils import _is_packed_sequence

from ssmax_eval.attention import Extras, Visible
from ssmax_eval.attention.base import BLOCK_NUMBERS
from ssmax_eval.attention.scaled import ScaledSoftmax
from ssmax_eval.errors import UserError


@dataclass(frozen=True)
class Seen(Visible):
    """What rows may see by a rule, `see`: rows (int64 [R]) to a boolean mask [B or 1, 1, R, S]. Never T × T at once."""

    see: Callable[[Tensor], Tensor] = field(kw_only=True)
    batch: int = field(default=1, kw_only=True)

    def at(self, rows: Tensor) -> Tensor:
        return self.see(rows)

    def counts(self, device: torch.device) -> Tensor:
        step = max(1, BLOCK_NUMBERS // (self.batch * self.keys))
        every = torch.arange(self.rows, device=device)
        blocks = [every[start : start + step] for start in range(0, self.rows, step)]
        return torch.cat([self.see(rows).sum(-1, keepdim=True) for rows in blocks], 2)

    def dense(self, device: torch.device) -> Visible:
        """The same as one mask, for an attention that runs from its definition."""
        return Visible(self.rows, self.keys, self.see(torch.arange(self.rows, device=device)))


class Backend:
    """A kernel of transformers that a model was loaded with, by its name there.

    `configured` is what the model's config says: the same name, or ours where the model is already rewritten.
    """

    def __init__(self, name: str, flash: bool, configured: str) -> None:
        self.name = name
        self.configured = configured
        self.flash = flash
        self.mask = AttentionMaskInterface()[name]
        self._last: tuple[Callable[[], Any], Tensor] | None = None

    def takes(self, mask: Any) -> bool:
        """Whether a mask is the backend's own kind; one that a user hands over in four dimensions is not."""
        return not (isinstance(mask, Tensor) and mask.ndim == 4)

    def visible(self, mask: Any, query: Tensor, keys: int, others: dict[str, Any]) -> Seen:
        """What the backend would let each row see, by its own mask and arguments."""
        batch, rows = query.shape[0], query.shape[2]
        if self.flash:
            if mask is None and _is_packed_sequence(others.get("position_ids"), batch):
                raise UserError(f"{self.name} packs several sequences into one row, which is not supported")
            return _flash_visible(mask, rows, keys, others.get("sliding_window"))
        if mask is None:
            return _flash_visible(None, rows, keys, None)
        batches = torch.arange(batch, device=query.device)[:, None, None, None]
        head = torch.zeros((), dtype=torch.long, device=query.device)
        columns = torch.arange(keys, device=query.device)

        def see(chosen: Tensor) -> Tensor:
            seen: Tensor = mask.mask_mod(batches, head, chosen[:, None], columns)
            return seen.expand(batch, 1, len(chosen), keys)

        return Seen(rows, keys, see=see, batch=batch)

    def counts(self, mask: Any, visible: Seen, device: torch.device) -> Tensor:
        """n_i of every row; layers that share a flex mask share the count."""
        if self.flash or mask is None:
            return visible.counts(device)
        if self._last is None or self._last[0]() is not mask:
            self._last = ref(mask), visible.counts(device)
        return self._last[1]

    def attend(
        self,
        attention: ScaledSoftmax,
        layer: int,
        extras: Extras,
        visible: Seen,
        module: nn.Module,
        tensors: tuple[Tensor, Tensor, Tensor, Any],
        arguments: dict[str, Any],
    ) -> Tensor | None:
        """The kernel's output, [B, T, H, width of value]; None where the kernel cannot give what is asked exactly.

        A scaled attention scales soft-capped scores, biases and sinks as well, which a scaled query does not.
        """
        query, key, value, mask = tensors
        n = self.counts(mask, visible, query.device)
        precision = torch.float64 if query.dtype == torch.float64 else torch.float32
        c = attention.factor(n.clamp(min=1).to(precision), layer)
        if extras.bias is not None or (extras.named() and c is not None):
            return None
        if c is not None:
            query = (c * query).to(query.dtype)
        config: Any = module.config
        ours = config._attn_implementation_internal
        config._attn_implementation_internal = self.name  # by which flash finds its kernel
        try:
            output: Tensor = AttentionInterface()[self.name](module, query, key, value, mask, **arguments)[0]
        finally:
            config._attn_implementation_internal = ours
        return output.masked_fill(n.transpose(1, 2) == 0, 0.0)


def backend_of(hf: PreTrainedModel, attention: Any) -> Backend | None:
    """The kernel that `attention` can keep using in `hf`; None where it runs on torch's own, or from its definition."""
    text = hf.config.get_text_config(decoder=True)
    name = text._attn_implementation
    mask = AttentionMaskInterface._global_mapping.get(name)
    if not isinstance(attention, ScaledSoftmax) or mask not in (flex_attention_mask, flash_attention_mask):
        return None
    flash = mask is flash_attention_mask
    if not flash and getattr(text, "num_kv_shared_layers", None):
        return None  # Gemma 4 slices its masks, unless it knows flex by name
    outer = getattr(getattr(AttentionInterface._global_mapping.get(name), "__self__", None), "backend", None)
    return Backend(outer.name if isinstance(outer, Backend) else name, flash, name)


def _flash_visible(mask: Tensor | None, rows: int, keys: int, window: int | None) -> Seen:
    """Causal, the last row seeing the last key; without padding (`mask` is [B, S], 1 for a token); within a window.

    A window counts tokens, not padding: flash takes the padding out before it attends.
    """
    if mask is not None:
        keys = mask.shape[1]
    before = keys - rows

    def see(chosen: Tensor) -> Tensor:
        columns = torch.arange(keys, device=chosen.device)
        own = chosen[:, None] + before
        if mask is None:
            seen = columns <= own
            return (seen if window is None else seen & (columns > own - window))[None, None]
        real = mask.bool()
        place = real.cumsum(-1)  # of each token among the tokens of its sequence, from 1
        seen = real[:, None, :] & real[:, own[:, 0], None] & (columns <= own)
        if window is not None:
            seen = seen & (place[:, None, :] > place[:, own[:, 0], None] - window)
        return seen[:, None]

    return Seen(rows, keys, see=see, batch=1 if mask is None else len(mask))
