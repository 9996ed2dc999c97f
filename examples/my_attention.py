"""An attention of one's own: sigmoid attention (arXiv 2409.04431), sigmoid(z + b - log n), each key for itself.

ssmax-eval check examples/my_attention.py:Mine
ssmax-eval run smollm2-135m --attention examples/my_attention.py:Mine:b=0.5
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssmax_eval.attention import Attention, Rows


@dataclass(frozen=True)
class Mine(Attention):
    """Weights of a row are sigmoids, so that keys do not compete; n is the number of keys that the row sees."""

    about = "sigmoid(z + b - log n), arXiv 2409.04431"

    b: float = 0.0
    """Added to every score."""

    def weights(self, rows: Rows) -> Tensor:
        return torch.sigmoid(rows.scores + self.b - rows.n.log()).masked_fill(~rows.visible, 0.0)
