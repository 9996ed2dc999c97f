"""A key-value cache that allocates its memory at once, so that reading on copies no keys or values again."""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

from ssmax_eval.model.offloading import HERE, Ahead, Keep, empty_on_processor


class Room:
    """Memory for the keys and values of all layers, in one block where their shapes are the same.

    Many blocks between the activations of a pass would leave memory in pieces too small to use again.
    """

    def __init__(self, tokens: int, layers: int, keep: Keep = HERE) -> None:
        self.tokens = tokens
        """Tokens that each layer has room for."""
        self.layers = layers
        self.keep = keep
        self._left: list[Tensor] = []

    def like(self, x: Tensor) -> Tensor:
        """Return an empty tensor for keys or values such as x [B, K, T, D]: [B, K, tokens, D]."""
        shape = (*x.shape[:2], self.tokens, x.shape[3])
        if self.keep.away:
            return empty_on_processor(shape, x.dtype)
        if self.keep.spread:  # a block for all layers would be on one device
            return x.new_empty(shape)
        if not self._left:
            self._left = list(x.new_empty(2 * self.layers, *shape).unbind())
        there = self._left[-1]
        alike = (there.shape, there.dtype, there.device) == (torch.Size(shape), x.dtype, x.device)
        return self._left.pop() if alike else x.new_empty(shape)


class LayerWithRoom(DynamicLayer):  # type: ignore[misc]
    """A layer of transformers' cache whose keys and values are the first part of larger tensors.

    The plain layer copies old and new into a new tensor at every piece, so that for a moment both exist.
    """

    def __init__(self, room: Room) -> None:
        super().__init__()
        self.room = room

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        super().lazy_initialization(key_states, value_states)
        self._all: tuple[Tensor, ...] = (self.room.like(key_states), self.room.like(value_states))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, K, T, D], and return all of them, [B, K, S, D]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        stop = start + key_states.shape[2]
        self._make_room(start, stop)
        for whole, part in zip(self._all, (key_states, value_states), strict=True):
            whole[:, :, start:stop] = part.to(whole.device)
        self.keys, self.values = (x[:, :, :stop] for x in self._all)
        return self.keys, self.values

    def _make_room(self, start: int, stop: int) -> None:
        """Take larger tensors where the first `start` tokens are held and `stop` do not fit."""
        if stop > self._all[0].shape[2]:
            held, more = self._all, max(stop, 2 * start)
            self._all = tuple(x.new_empty(*x.shape[:2], more, x.shape[3]) for x in held)
            for whole, part in zip(self._all, held, strict=True):
                whole[:, :, :start] = part[:, :, :start]

    def begin(self, like: DynamicLayer, rows: int, length: int) -> None:
        """Take room for `rows` texts of `length` tokens, with keys and values such as those of another layer."""
        keys, values = (x[:1, :, :0].expand(rows, -1, -1, -1) for x in (like.keys, like.values))
        self.lazy_initialization(keys, values)
        self.keys, self.values = (x[:, :, :length] for x in self._all)

    def place(self, row: int, other: DynamicLayer) -> None:
        """Copy the one text of another layer to a row, at the end of it; what is before it becomes zeros."""
        for whole, part in zip((self.keys, self.values), (other.keys, other.values), strict=True):
            before = whole.shape[2] - part.shape[2]
            whole[row, :, :before] = 0
            whole[row, :, before:] = part[0]

    def keep(self, rows: int) -> None:
        """Forget all but the first rows."""
        self._all = tuple(x[:rows] for x in self._all)
        self.keys, self.values = self.keys[:rows], self.values[:rows]

    def move(self, source: int, target: int) -> None:
        """Copy one row over another."""
        for x in (self.keys, self.values):
            x[target] = x[source]


class LayerAway(LayerWithRoom):
    """A layer that keeps keys and values in the processor's memory; its device has them while it attends."""

    def __init__(self, room: Room, ahead: Ahead) -> None:
        super().__init__(room)
        self.ahead = ahead
        self.next: LayerAway | None = None
        """The layer that attends after this one."""

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add keys and values [B, K, T, D], and return all of them on their device, [B, K, S, D]."""
        start = self.get_seq_length()
        stop, device, following = start + key_states.shape[2], key_states.device, self.next
        if self.is_initialized:
            self._make_room(start, stop)
            keys, values = self.ahead.take(self, self._all, start, stop, device)
            keys[:, :, start:], values[:, :, start:] = key_states, value_states
        else:
            keys, values = key_states, value_states
        if following is not None and following.is_initialized and following.get_seq_length() == start > 0:
            self.ahead.begin(following, following._all, start, stop, device)
        super().update(key_states, value_states)
        return keys, values


class Stack:
    """Texts that are read on together: their keys and values in one cache.

    All end with the same column. A shorter text has columns before it that hold nothing, which `mask` hides.
    """

    def __init__(self, config: PretrainedConfig, like: DynamicCache, *, rows: int, length: int, room: int) -> None:
        """Take room for `rows` texts of at most `length` tokens and `room` tokens to come, in layers such as `like`."""
        self.cache = cache_for(config, length + room, like.keep)
        for layer, other in zip(self.cache.layers, like.layers, strict=True):
            layer.begin(other, rows, length)
        self.starts: list[int] = []
        """The column of each text's first token."""

    def add(self, cache: DynamicCache) -> None:
        """Copy a text's keys and values into the next row."""
        for layer, other in zip(self.cache.layers, cache.layers, strict=True):
            layer.place(len(self.starts), other)
        self.starts.append(self.cache.get_seq_length() - cache.get_seq_length())

    def close(self) -> None:
        """Give up the rows that no text was added to."""
        for layer in self.cache.layers:
            layer.keep(len(self.starts))

    def remove(self, row: int) -> None:
        """Take a text out; the last one takes its row."""
        last = len(self.starts) - 1
        for layer in self.cache.layers:
            if row != last:
                layer.move(last, row)
            layer.keep(last)
        self.starts[row] = self.starts[last]
        self.starts.pop()

    def places(self, device: torch.device) -> dict[str, Tensor]:
        """Return which columns the next tokens see, and their positions, for a model; nothing where all begin alike.

        The mask is int64 [rows, columns + 1], the positions are int64 [rows, 1].
        """
        if not any(self.starts):
            return {}
        starts, columns = torch.tensor(self.starts, device=device)[:, None], self.cache.get_seq_length()
        mask = torch.arange(columns + 1, device=device) >= starts
        return {"attention_mask": mask.long(), "position_ids": columns - starts}


def cache_for(config: PretrainedConfig, tokens: int, keep: Keep = HERE) -> DynamicCache:
    """Return the cache that transformers makes for a model, its plain layers with room for `tokens`, kept as told."""
    cache, ahead = DynamicCache(config=config), Ahead()
    cache.keep = keep
    room = Room(tokens, len(cache.layers), keep)
    before: LayerAway | None = None
    for number, layer in enumerate(cache.layers):
        if type(layer) is not DynamicLayer:
            continue
        if not keep.away:
            cache.layers[number] = LayerWithRoom(room)
            continue
        cache.layers[number] = away = LayerAway(room, ahead)
        if before is not None and not keep.spread:
            before.next = away
        before = away
    return cache
