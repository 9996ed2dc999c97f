"""One call of attention, and what a definition is given of it.

Shapes, everywhere in this package: B batch, H query heads, K key-value heads (H is a multiple of K), T query rows,
S keys, D width of a head, R some of the rows. Query row i is one token; n_i is the number of keys that it may see.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from ssmax_eval.attention.functions import l2_normalised, products


@dataclass(frozen=True)
class Visible:
    """Which keys each query row may see."""

    rows: int
    """T."""
    keys: int
    """S."""
    mask: Tensor | None = None
    """Boolean, [B or 1, H or 1, T, S], True where a row may look. None: plain causal, the last row sees every key."""

    def at(self, rows: Tensor) -> Tensor:
        """Return the chosen rows (int64 [R]) as a boolean mask [B or 1, H or 1, R, S]."""
        if self.mask is not None:
            return self.mask[:, :, rows]
        keys = torch.arange(self.keys, device=rows.device)
        return (keys <= rows[:, None] + (self.keys - self.rows))[None, None]

    def all(self, device: torch.device) -> Tensor:
        """Return every row as a boolean mask [B or 1, H or 1, T, S]."""
        return self.at(torch.arange(self.rows, device=device))

    def counts(self, device: torch.device) -> Tensor:
        """Return n_i, the number of visible keys of every row: int64 [B or 1, H or 1, T, 1]."""
        if self.mask is not None:
            return self.mask.sum(-1, keepdim=True)
        n = torch.arange(self.rows, device=device) + (self.keys - self.rows + 1)
        return n[None, None, :, None]


@dataclass(frozen=True)
class Extras:
    """What some architectures do to their scores besides scaling them. Where all fields are None: nothing.

    The scores of a row become z = bias + softcap · tanh(scaling · q·k / softcap), and the sink is one more entry of
    the row, without a value. The sink is no key, so it does not count in n.
    """

    softcap: float | None = None
    """Bound on the size of a score (Gemma 2)."""
    bias: Tensor | None = None
    """Added to the scores: [B or 1, H or 1, T, S]."""
    sink: Tensor | None = None
    """A logit that takes weight and gives nothing (gpt-oss): [B or 1, H, T or 1, 1]."""

    def names(self) -> set[str]:
        """Return the names of the fields that are not None."""
        return {f.name for f in fields(self) if getattr(self, f.name) is not None}

    def at(self, rows: Tensor | slice, keys: int | None = None) -> "Extras":
        """Return the same for some of the rows, and the first `keys` keys."""
        bias = _at(self.bias, rows)
        return Extras(self.softcap, bias if bias is None else bias[..., :keys], _at(self.sink, rows))

    def apply(self, z: Tensor) -> Tensor:
        """Return scores z [B, H, R, S] with soft-capping and bias."""
        if self.softcap is not None:
            z = self.softcap * (z / self.softcap).tanh()
        return z if self.bias is None else z + self.bias


PLAIN = Extras()
"""Nothing besides."""


@dataclass(frozen=True)
class Part:
    """Some pairs of a row and a key, and the queries and keys that their scores are made of: a position map turns them.

    The keys of a row are those from `first` to `stop` - 1.
    """

    query: Tensor
    """[B, H, R, D]."""
    key: Tensor
    """[B, K, S, D]."""
    first: Tensor
    """int64 [1 or B, R]."""
    stop: Tensor
    """int64 [1 or B, R]."""

    @property
    def holds(self) -> Tensor:
        """Whether a pair belongs to this part, boolean [1 or B, 1, R, S]."""
        keys = torch.arange(self.key.shape[2], device=self.first.device)
        return ((keys >= self.first[..., None]) & (keys < self.stop[..., None]))[:, None]

    def until(self, keys: int) -> "Part":
        """Return the same for the first keys only."""
        return Part(self.query, self.key[:, :, :keys], self.first, self.stop)


class Placed(ABC):
    """The queries and keys of a call under a position map."""

    @abstractmethod
    def parts(self, query: Tensor, key: Tensor, rows: Tensor) -> tuple[Part, ...]:
        """Return the parts that the scores of some rows (int64 [R]) are made of; a pair in none of them is hidden.

        `query` [B, H, R, D] are the queries of these rows, `key` [B, K, S, D] all keys. A negative row is counted back
        from the first row of the call.
        """


@dataclass(frozen=True)
class Rows:
    """Some rows of a call: all that the definition of an attention needs. Scores and n are computed when asked for."""

    query: Tensor
    """[B, H, R, D], after rotary embedding."""
    key: Tensor
    """[B, K, S, D], after rotary embedding."""
    visible: Tensor
    """Boolean, [B or 1, H or 1, R, S]: which keys each row may see."""
    scaling: float
    """The model's factor on q·k, usually 1/√D."""
    layer: int = 0
    """Number of the layer, from 0."""
    extras: Extras = PLAIN
    """What the model asks for besides."""
    parts: tuple[Part, ...] = ()
    """What the scores are made of under a position map; without one, of `query` and `key`."""

    @cached_property
    def scores(self) -> Tensor:
        """z = scaling · q·k, [B, H, R, S], at least float32; with the model's soft-capping and bias, if any."""
        return self.extras.apply(self._made_of(lambda query, key: products(query, key, self.scaling)))

    @cached_property
    def cosines(self) -> Tensor:
        """cos(q, k) = q·k / (|q| |k|), [B, H, R, S], at least float32; 0 for a vector of zeros."""
        return self._made_of(lambda query, key: products(l2_normalised(query), l2_normalised(key), 1.0))

    def _made_of(self, product: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        if not self.parts:
            return product(self.query, self.key)
        first, *others = self.parts
        z = product(first.query, first.key)
        for part in others:
            z = torch.where(part.holds, product(part.query, part.key), z)
        return z

    @cached_property
    def n(self) -> Tensor:
        """n_i, the number of keys that each row sees: [B or 1, H or 1, R, 1], at least float32, at least 1."""
        return at_least_one(self.visible.sum(-1, keepdim=True), self.query)

    @property
    def sink(self) -> Tensor | None:
        """The model's attention sink: a logit, [B or 1, H, R or 1, 1]; None for a model without one."""
        return self.extras.sink


@dataclass(frozen=True)
class Call:
    """One call of attention: what a model passes in one layer."""

    query: Tensor
    """[B, H, T, D], after rotary embedding."""
    key: Tensor
    """[B, K, S, D], after rotary embedding."""
    value: Tensor
    """[B, K, S, width of value]."""
    visible: Visible
    """Which keys each row may see."""
    scaling: float
    """The model's factor on q·k, usually 1/√D."""
    layer: int = 0
    """Number of the layer, from 0."""
    extras: Extras = PLAIN
    """What the model asks for besides."""
    placed: Placed | None = None
    """The position map that is in force; None: every score is made at the model's own positions."""

    def at(self, rows: Tensor, query: Tensor | None = None) -> Rows:
        """Return the chosen rows (int64 [R]) against all keys.

        `query` [B, H, R, D]: their queries, where those come from an earlier call on the same keys. Such rows are
        negative, counted back from the first row of this call.
        """
        query = self.query[:, :, rows] if query is None else query
        return self._rows(rows, query, self.extras.at(rows), self.visible.keys)

    def block(self, start: int, stop: int) -> Rows:
        """Return rows start … stop − 1, against the keys that one of them may see where the call is plainly causal."""
        rows = torch.arange(start, stop, device=self.query.device)
        keys = self.keys_until(stop)
        return self._rows(rows, self.query[:, :, start:stop], self.extras.at(slice(start, stop), keys), keys)

    def _rows(self, rows: Tensor, query: Tensor, extras: Extras, keys: int) -> Rows:
        visible, parts = self.visible.at(rows)[..., :keys], tuple[Part, ...]()
        if self.placed is not None:
            parts = tuple(part.until(keys) for part in self.placed.parts(query, self.key, rows))
            held = parts[0].holds
            for part in parts[1:]:
                held = held | part.holds
            visible = visible & held
        return Rows(query, self.key[:, :, :keys], visible, self.scaling, self.layer, extras, parts)

    def keys_until(self, stop: int) -> int:
        """Return how many of the first keys the rows before `stop` may see."""
        visible = self.visible
        return visible.keys if visible.mask is not None else visible.keys - visible.rows + stop

    @property
    def learns(self) -> bool:
        """Whether somebody wants gradients of this call."""
        return torch.is_grad_enabled() and any(x.requires_grad for x in (self.query, self.key, self.value))


def at_least_one(counts: Tensor, like: Tensor) -> Tensor:
    """Return counts of visible keys (int64) as numbers to compute with: at least 1, and at least float32."""
    return counts.clamp(min=1).to(torch.promote_types(like.dtype, torch.float32))


def _at(x: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    return x if x is None or x.shape[2] == 1 else x[:, :, rows]
