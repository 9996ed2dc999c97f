"""The model's own kernel, flex or flash, under an attention that only scales the query.

Such an attention needs n_i, the number of keys that each row sees, and a kernel that runs softmax. Where the model
runs flex or flash attention, it keeps that kernel and its own mask. n_i is counted from that mask, in blocks of rows;
the kernel gets the scaled query, and everything else as it was.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import flash_attention_mask, flex_attention_mask

from ssmax_eval.attention import Attention, Call, Visible
from ssmax_eval.attention.base import BLOCK_NUMBERS
from ssmax_eval.attention.call import at_least_one
from ssmax_eval.attention.scaled import ScaledSoftmax, scales_query
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import seam


@dataclass(frozen=True)
class Seen(Visible):
    """Which keys rows may see, by a rule. No mask of T × T is made."""

    see: Callable[[Tensor], Tensor] = field(kw_only=True)
    """From rows, int64 [R], to a boolean mask [B or 1, 1, R, S]."""
    batch: int = field(default=1, kw_only=True)
    """B of that mask."""

    def at(self, rows: Tensor) -> Tensor:
        return self.see(rows)

    def counts(self, device: torch.device) -> Tensor:
        step = max(1, BLOCK_NUMBERS // (self.batch * self.keys))
        every = torch.arange(self.rows, device=device)
        blocks = [every[start : start + step] for start in range(0, self.rows, step)]
        return torch.cat([self.see(rows).sum(-1, keepdim=True) for rows in blocks], 2)

    def dense(self, device: torch.device) -> Visible:
        """Return the same as one mask, for an attention that runs from its definition."""
        return Visible(self.rows, self.keys, self.all(device))


class Backend:
    """A kernel of transformers that a model was loaded with."""

    def __init__(self, name: str, flash: bool, configured: str) -> None:
        self.name = name
        """Its name in transformers."""
        self.configured = configured
        """What the model's config says: the same name, or ours where the model is already rewritten."""
        self.flash = flash
        """Whether it is flash attention; else it is flex."""
        self._mask = AttentionMaskInterface()[name]
        self._last: tuple[Callable[[], Any], Tensor] | None = None

    def mask(self, *arguments: Any, **given: Any) -> Any:
        """Make the kernel's own mask. UserError for flex with a static cache.

        A flex mask holds the number of cached tokens, and a static cache changes that number in place, before the
        mask is read: each row would then see tokens that come after it. A static cache gives the number as a tensor
        once it holds tokens, and has places for keys beyond the last query.
        """
        before = given.get("q_offset", 0)
        if not self.flash and (
            isinstance(before, Tensor)
            or before + given.get("q_length", 0) < given.get("kv_offset", 0) + given.get("kv_length", 0)
        ):
            raise UserError(
                "flex attention with a static cache is not supported: its rows would see keys that come after them; "
                "use a dynamic cache, or load the model with attn_implementation='sdpa'"
            )
        return self._mask(*arguments, **given)

    def takes(self, mask: Any) -> bool:
        """Whether a mask is of the kernel's own kind. One that a user passes in four dimensions is not."""
        return not (isinstance(mask, Tensor) and mask.ndim == 4)

    def visible(self, mask: Any, query: Tensor, keys: int, others: dict[str, Any]) -> Seen:
        """Return what the kernel lets each row see, by its own mask and arguments."""
        batch, rows = query.shape[0], query.shape[2]
        if self.flash:
            if mask is None and seam.packs_sequences(others.get("position_ids"), batch):
                raise UserError(f"{self.name} packs several sequences into one row; this is not supported")
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
        """Return n_i of every row, int64 [B or 1, 1, T, 1]; layers that share a flex mask share the count."""
        if self.flash or mask is None:
            return visible.counts(device)
        if self._last is None or self._last[0]() is not mask:
            self._last = ref(mask), visible.counts(device)
        return self._last[1]

    def attend(
        self, attention: ScaledSoftmax, call: Call, module: nn.Module, mask: Any, arguments: dict[str, Any]
    ) -> Tensor | None:
        """Return the kernel's output, [B, T, H, width of value]; None where the kernel cannot give it exactly.

        A scaled attention scales soft-capped scores, biases and sinks as well, which a scaled query does not.
        `mask` and `arguments` are what transformers passed.
        """
        query, extras = call.query, call.extras
        assert isinstance(call.visible, Seen)
        n = self.counts(mask, call.visible, query.device)
        c = attention.factor_of(at_least_one(n, query), call.layer, query.shape[1])
        if extras.bias is not None or (extras.names() and c is not None):
            return None
        if c is not None:
            query = (c * query).to(query.dtype)
        with seam.running([module.config], self.name):  # flash finds its kernel by that name
            kernel = AttentionInterface()[self.name]
            output: Tensor = kernel(module, query, call.key, call.value, mask, **arguments)[0]
        return output.masked_fill(n.transpose(1, 2) == 0, 0.0)


def backend_of(hf: PreTrainedModel, attention: Attention) -> Backend | None:
    """Return the kernel that `attention` can keep using in `hf`; None where the model runs neither flex nor flash, or
    the attention is more than a scaled query."""
    text = hf.config.get_text_config(decoder=True)
    name = seam.implementation_of(text)
    mask = seam.mask_function_of(name)
    if not scales_query(attention) or mask not in (flex_attention_mask, flash_attention_mask):
        return None
    flash = mask is flash_attention_mask
    if not flash and getattr(text, "num_kv_shared_layers", None):
        return None  # Gemma 4 slices its masks, unless it knows flex by name
    outer = getattr(getattr(seam.function_of(name), "__self__", None), "backend", None)
    return Backend(outer.name if isinstance(outer, Backend) else name, flash, name)


def _flash_visible(mask: Tensor | None, rows: int, keys: int, window: int | None) -> Seen:
    """Return what flash lets each row see: causal, no padding (`mask` is [B, S], 1 for a token), within a window.

    The last row sees the last key. A window counts tokens, not padding: flash takes the padding out before it attends.
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
