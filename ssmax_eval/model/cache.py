"""A key-value cache that allocates its memory at once, so that reading on copies no keys or values again."""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer


class Room:
    """Memory for the keys and values of all layers, in one block where their shapes are the same.

    Many blocks between the activations of a pass would leave memory in pieces too small to use again.
    """

    def __init__(self, tokens: int, layers: int) -> None:
        self.tokens = tokens
        """Tokens that each layer has room for."""
        self.layers = layers
        self._left: list[Tensor] = []

    def like(self, x: Tensor) -> Tensor:
        """Return an empty tensor for keys or values such as x [B, K, T, D]: [B, K, tokens, D]."""
        shape = (*x.shape[:2], self.tokens, x.shape[3])
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
        if stop > self._all[0].shape[2]:
            held, more = self._all, max(stop, 2 * start)
            self._all = tuple(x.new_empty(*x.shape[:2], more, x.shape[3]) for x in held)
            for whole, part in zip(self._all, held, strict=True):
                whole[:, :, :start] = part[:, :, :start]
        for whole, part in zip(self._all, (key_states, value_states), strict=True):
            whole[:, :, start:stop] = part
        self.keys, self.values = (x[:, :, :stop] for x in self._all)
        return self.keys, self.values


def cache_for(config: PretrainedConfig, tokens: int) -> DynamicCache:
    """Return the cache that transformers makes for a model, its plain layers with room for `tokens`."""
    cache = DynamicCache(config=config)
    room = Room(tokens, len(cache.layers))
    cache.layers = [LayerWithRoom(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache
