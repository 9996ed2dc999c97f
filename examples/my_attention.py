"""An attention of one's own: sigmoid attention (arXiv 2409.04431), sigmoid(z + b - log n), each key for itself.

ssmax-eval check examples/my_attention.py:Mine
ssmax-eval run smollm2-135m --attention examples/my_attention.py:Mine:b=0.5
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention import Attention, scores


@dataclass(frozen=True)
class Mine(Attention):
    """Weights of a row are sigmoids, so that keys do not compete; n is the number of keys that the row sees."""

    about = "sigmoid(z + b - log n), arXiv 2409.04431"

    b: float = 0.0
    """Added to every score."""

    def weights(self, query: Tensor, key: Tensor, visible: Tensor, scaling: float, layer: int) -> Tensor:
        z = scores(query, key, scaling)  # [B, H, R, S], at least float32
        n = visible.sum(-1, keepdim=True).clamp(min=1)  # [B or 1, H or 1, R, 1]
        return torch.sigmoid(z + self.b - n.log()).masked_fill(~visible, 0.0)
