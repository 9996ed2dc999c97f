"""What the tests of position maps share: their specifications, and raw queries and keys."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssmax_eval.attention import Call, Visible
from ssmax_eval.positions import Mapped, Places, Rotation, parse

SPECS: dict[str, dict[str, Any]] = {
    "rerope:window=5": {"window": 5},
    "leaky_rerope:window=6,k=4": {"window": 6, "k": 4.0},
    "self_extend:window=7,group=3": {"window": 7, "group": 3},
    "dca:chunk=9,local=3": {"chunk": 9, "local": 3},
    "dca:chunk=7,local=5": {"chunk": 7, "local": 5},
    "streaming:sinks=2,window=6": {"sinks": 2, "window": 6},
    "lm_infinite:first=3,window=5": {"first": 3, "window": 5},
    "nope": {},
}
BATCH, HEADS, GROUPS, TOKENS, WIDTH = 1, 4, 2, 23, 8
SCALING = 0.4


def frequencies(pairs: int = WIDTH // 2) -> Tensor:
    """Inverse frequencies, float32, as a model holds them."""
    return 1.0 / 100 ** (torch.arange(pairs).float() / pairs)


def raw(tokens: int = TOKENS, seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys before RoPE, and values, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def draw(heads: int) -> Tensor:
        return torch.randn(BATCH, heads, tokens, WIDTH, generator=generator, dtype=torch.float64)

    return draw(HEADS), draw(GROUPS), draw(GROUPS)


def roped(x: Tensor, rotation: Rotation, first: int = 0) -> Tensor:
    """x [B, H, T, D] after the model's RoPE, its last token the last of the text."""
    at = torch.arange(first, first + x.shape[2])[None]
    return rotation.turned(x, rotation.between(torch.zeros_like(at), at))


def call_of(
    spec: str, query: Tensor, key: Tensor, value: Tensor, rotation: Rotation, mask: Tensor | None = None
) -> Call:
    """A call of one text under a position map; queries and keys are after RoPE."""
    rows, keys = query.shape[2], key.shape[2]
    position = parse(spec)
    placed = None if position is None else Mapped(position, rotation, Places.plain(rows, keys))
    return Call(query, key, value, Visible(rows, keys, mask), SCALING, placed=placed)


def numpy_of(*tensors: Tensor) -> list[Any]:
    return [np.asarray(x.double()) for x in tensors]
