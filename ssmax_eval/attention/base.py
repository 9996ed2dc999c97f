"""What an attention is: weights over the keys that a row may see.

Shapes, everywhere in this package: B batch, H query heads, K key-value heads (H is a multiple of K), T query
rows, S keys, D width of a head. Query row i is one token; n_i is the number of keys that it may see.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ssmax_eval.attention.extras import PLAIN, Extras
from ssmax_eval.errors import UserError
from ssmax_eval.memory import block_numbers

BLOCK_NUMBERS = 1 << 24
"""Weights that the row-blocked forward forms at a time where memory allows (64 MiB in float32)."""


@dataclass(frozen=True)
class Shape:
    """What an attention may need to know of a checkpoint to settle its parameters."""

    layers: int
    """Decoder layers."""
    heads: int
    """Query heads of a layer."""
    train_length: int
    """Context length, in tokens, that the checkpoint was trained with."""
    brought: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    """Attention parameters found in the checkpoint's own weights: name -> [layers][heads], or () where none."""
    full: tuple[int, ...] | None = None
    """Layers with full attention, where the config tells them from those with a window; None: all."""
    trained: "Attention | None" = None
    """The attention that the checkpoint says it was trained with."""


@dataclass(frozen=True)
class Visible:
    """Which keys each query row may see.

    `mask` is boolean, [B or 1, H or 1, T, S], True where a row may look; None means plain causal, the last row
    seeing every key.
    """

    rows: int
    keys: int
    mask: Tensor | None = None

    def block(self, start: int, stop: int, device: torch.device) -> Tensor:
        """Rows start..stop-1 as a boolean mask [B or 1, H or 1, stop - start, S]."""
        return self.at(torch.arange(start, stop, device=device))

    def at(self, rows: Tensor) -> Tensor:
        """The chosen rows (int64 [R]) as a boolean mask [B or 1, H or 1, R, S]."""
        if self.mask is not None:
            return self.mask[:, :, rows]
        keys = torch.arange(self.keys, device=rows.device)
        return (keys <= rows[:, None] + (self.keys - self.rows))[None, None]

    def counts(self, device: torch.device) -> Tensor:
        """n_i, the number of visible keys of every row: int64 [B or 1, H or 1, T, 1]."""
        if self.mask is not None:
            return self.mask.sum(-1, keepdim=True)
        n = torch.arange(self.rows, device=device) + (self.keys - self.rows + 1)
        return n[None, None, :, None]


@dataclass(frozen=True)
class Attention(ABC):
    """One kind of attention, with its parameters. A subclass must define `weights`; all else follows from it."""

    layers: str | None = field(default=None, kw_only=True)
    """Layers that are rewritten: "full" for those with full attention, or numbers as in "0-3+7"; None: all.
    The others attend with softmax."""

    about: ClassVar[str] = ""
    """One line: the formula and where it comes from."""
    version: ClassVar[int] = 1
    """Raised when the formula changes its numbers, so that stored cells are not reused in silence."""
    log_scaled: ClassVar[bool] = False
    """Whether scores grow with log n, so that a model which does that by itself would be scaled twice."""
    learned: ClassVar[tuple[str, ...]] = ()
    """Parameters, one per layer and head, that a model learns in training where they are not given."""
    honours: ClassVar[frozenset[str]] = frozenset()
    """Which `Extras` the definition can honour; `weights` then takes them as a sixth argument, `extras`."""

    @abstractmethod
    def weights(self, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int) -> Tensor:
        """The definition, to be read: the weights of each row, [B, H, R, S], zero where not visible.

        `query` [B, H, R, D] and `key` [B, K, S, D] come after rotary embedding; `visible` is boolean,
        [B or 1, H or 1, R, S]; `scaling` is the model's factor on q·k (usually 1/√D); `layer` counts from 0.
        """

    def resolve(self, shape: Shape) -> "Attention":
        """This attention with the parameters that depend on the checkpoint filled in."""
        return self

    def size(self, name: str, shape: Shape) -> int:
        """How many numbers a learned parameter is in one layer: one per head."""
        return shape.heads

    def refuse_beyond(self, extras: Extras) -> None:
        """UserError when the architecture asks for something that the definition cannot honour."""
        if beyond := sorted(extras.named() - self.honours):
            raise UserError(
                f"the model attends with a {beyond[0]}, which {type(self).__name__} has no place for; "
                "leaving it out would make the numbers wrong"
            )

    def weights_with(
        self, extras: Extras, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int
    ) -> Tensor:
        """`weights`, with what the architecture asks for besides."""
        self.refuse_beyond(extras)
        if not extras.named():
            return self.weights(query, key, visible, scaling, layer)
        return self.weights(query, key, visible, scaling, layer, extras=extras)  # type: ignore[call-arg]

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        visible: Visible,
        scaling: float,
        layer: int,
        extras: Extras = PLAIN,
    ) -> Tensor:
        """Output of the attention, [B, H, T, width of value], from `weights` on blocks of rows.

        Memory is linear in S: only a block of rows × S weights exists at a time, in training too, where the blocks
        are computed again for their gradients unless there is but one.
        """
        batch, heads, rows, _ = query.shape
        output = query.new_empty(batch, heads, rows, value.shape[-1])
        step = max(1, block_numbers(BLOCK_NUMBERS, query.device) // (batch * heads * visible.keys))

        def block(start: int, stop: int) -> Tensor:
            keys = visible.keys if visible.mask is not None else visible.keys - rows + stop
            seen = visible.block(start, stop, query.device)[..., :keys]
            also = extras.at(slice(start, stop), keys)
            a = self.weights_with(also, query[:, :, start:stop], key[:, :, :keys], seen, scaling, layer)
            return weighted_sum(a, value[:, :, :keys]).to(query.dtype)

        again = step < rows and torch.is_grad_enabled()
        for start in range(0, rows, step):
            ends = start, min(start + step, rows)
            made = checkpoint(block, *ends, use_reentrant=False, preserve_rng_state=False) if again else block(*ends)
            output[:, :, slice(*ends)] = made
        return output

    def parameters(self) -> dict[str, Any]:
        """The parameters by name, as plain values that JSON can hold; `layers` only where it limits any."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if name != "layers" or value is not None}

    def rewrites(self, shape: Shape) -> frozenset[int] | None:
        """The layers that run this attention; None for all. UserError when `layers` does not fit the checkpoint."""
        if self.layers is None:
            return None
        if self.layers == "full":
            return None if shape.full is None else frozenset(shape.full)
        chosen: set[int] = set()
        for part in self.layers.split("+"):
            if (numbers := re.fullmatch(r"(\d+)(?:-(\d+))?", part)) is None:
                raise UserError(f"layers={self.layers!r} is neither 'full' nor numbers such as 0-3+7")
            chosen |= set(range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1))
        if not chosen or max(chosen) >= shape.layers:
            raise UserError(f"layers={self.layers!r} names layers that a checkpoint of {shape.layers} does not have")
        return frozenset(chosen)


def scores(query: Tensor, key: Tensor, scaling: float) -> Tensor:
    """z = scaling · q·k for every row and key, [B, H, R, S]; at least float32, whatever the model's dtype.

    Grouped queries share their key head without copying it.
    """
    query, key = _wide(query), _wide(key)
    batch, heads, rows, width = query.shape
    groups = key.shape[1]
    folded = query.reshape(batch, groups, heads // groups * rows, width)
    with torch.autocast(query.device.type, enabled=False):
        z = folded @ key.transpose(-1, -2)
    return z.mul_(scaling).view(batch, heads, rows, key.shape[2])


def weighted_sum(weights: Tensor, value: Tensor) -> Tensor:
    """Σ_j weights_ij · v_j, [B, H, R, width of value], with `value` [B, K, S, width] shared by its group."""
    batch, heads, rows, keys = weights.shape
    groups = value.shape[1]
    folded = weights.reshape(batch, groups, heads // groups * rows, keys)
    return (folded @ value.to(weights.dtype)).view(batch, heads, rows, value.shape[-1])


def masked_softmax(z: Tensor, visible: Tensor, sink: Tensor | None = None) -> Tensor:
    """Softmax of each row over its visible keys; a row that sees none is all zeros.

    With a `sink` ([B or 1, H, R or 1, 1]) it is over the keys and the sink, whose own weight is left out.
    """
    z = z.masked_fill(~visible, -torch.inf)
    if sink is not None:
        z = torch.cat((z, sink.to(z.dtype).expand(*z.shape[:-1], 1)), -1)
    return z.softmax(-1)[..., : visible.shape[-1]].masked_fill(~visible, 0.0)


def l1_normalised(x: Tensor) -> Tensor:
    """Each row (last axis, non-negative) divided by its sum; a row of zeros stays zeros."""
    total = x.sum(-1, keepdim=True)
    return x / total.masked_fill(total == 0, 1.0)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
