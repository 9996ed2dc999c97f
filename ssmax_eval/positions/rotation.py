"""The rotation of RoPE, as one layer of a model has it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ssmax_eval.attention.functions import at_least_float32

Style = Literal["halves", "neighbours"]
"""Which two numbers of a head turn together: one of each half (Llama, GPT-NeoX), or two neighbours (GPT-J, Cohere)."""


class Turn(NamedTuple):
    """Cosines and sines of the angles to turn by, [1 or B, 1, T, pairs], float32."""

    cos: Tensor
    sin: Tensor


@dataclass(frozen=True, eq=False)
class Rotation:
    """How RoPE turns the queries and keys of a layer: pair m of a head by the angle position · frequencies[m]."""

    frequencies: Tensor
    """Inverse frequencies, float32 [pairs], as the model has them."""
    style: Style
    start: int = 0
    """First number of a head that turns; 2 · pairs of them do."""

    def angles(self, positions: Tensor) -> Tensor:
        """Return the angles of positions [..], float64 [.., pairs], with the rounding of the model: to float32."""
        return (positions[..., None].float() * self.frequencies.to(positions.device)).double()

    def between(self, before: Tensor, after: Tensor) -> Turn:
        """Return what turns vectors at positions `before` [1 or B, T] to where they are at `after`."""
        angles = (self.angles(after) - self.angles(before))[:, None]
        return Turn(angles.cos().float(), angles.sin().float())

    def turned(self, x: Tensor, turn: Turn) -> Tensor:
        """Return x [B, H, T, D], turned."""
        stop = self.start + 2 * self.frequencies.shape[0]
        middle, (cos, sin) = at_least_float32(x[..., self.start : stop]), turn
        if self.style == "halves":
            a, b = middle.chunk(2, -1)
            middle = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
        else:
            a, b = middle[..., ::2], middle[..., 1::2]
            middle = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
        if middle.shape[-1] == x.shape[-1]:
            return middle.to(x.dtype)
        return torch.cat((x[..., : self.start], middle.to(x.dtype), x[..., stop:]), -1)
