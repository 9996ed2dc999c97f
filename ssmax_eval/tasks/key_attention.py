"""Where heads look: weight on the key tokens, and how attention fades as the context grows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssmax_eval.attention.functions import l1_normalised
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Quantity
from ssmax_eval.model import Question
from ssmax_eval.tasks.niah import PROMPT, NeedleTask, scored
from ssmax_eval.tasks.prompts import Prompt

if TYPE_CHECKING:
    from ssmax_eval.model import Answer, Model

STATISTICS = ("needle_score", "max_weight", "entropy", "first_weight", "effective_keys", "sink_weight")
ANSWERING = ("position", "answer_position")
"""Columns that agree in the row that predicts the first digit of the answer."""
SECTION = "Attention on the needle"


@dataclass(frozen=True, kw_only=True)
class KeyAttention(NeedleTask):
    """Needle score (SSMax paper, Fig. 7 and 8) and fading of every head, from the weights that really ran.

    The needle score of a head is the weight that the row predicting the first digit of the answer puts on the
    tokens of the number. The other rows are spread over the sequence by powers of two.

    Entropy and the effective number of keys, exp(entropy), are those of the weights divided by their sum, which is 1
    unless a sink took some of the weight or the whole row is zeros. `sink_weight` is what no key got: 1 − the sum. A
    row of zeros has no effective keys.
    """

    looks_into_attention = True
    quantities = (
        Quantity("needle_score", "needle score", "attention weight", "higher", units=("depth", "trial"), same=PROMPT,
                 views=("by_head", "by_length", "by_outcome", "head_map"), where=ANSWERING, best=("layer", "head"),
                 between=(0.0, 1.0), section=SECTION,
                 about="The needle score is the weight that the row predicting the answer puts on the digits of the "
                       "needle."),
        Quantity("max_weight", "largest weight", units=("depth", "trial"), views=("fading",), outside=ANSWERING,
                 between=(0.0, 1.0), section=SECTION),
        Quantity("entropy", "entropy", "nats", units=("depth", "trial"), views=("fading",), outside=ANSWERING,
                 between=(0.0, None), section=SECTION),
        Quantity("effective_keys", "effective number of keys", units=("depth", "trial"), log=True,
                 views=("fading", "fading_by_layer"), outside=ANSWERING, between=(0.0, None), section=SECTION),
        Quantity("first_weight", "weight on the first token", units=("depth", "trial"), views=("fading",),
                 outside=ANSWERING, between=(0.0, 1.0), section=SECTION),
        Quantity("sink_weight", "weight on no key", units=("depth", "trial"), views=(), outside=ANSWERING,
                 between=(0.0, 1.0), section=SECTION),
    )  # fmt: skip

    probed_rows: int = 6
    """Rows besides the answering one: the last but one, and halvings of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probed_rows < 0:
            raise UserError(f"probed_rows must be 0 or more; given {self.probed_rows}")

    def asked(self, prompts: list[Prompt]) -> Question:
        rows = sorted({*self._fading(prompts), *_answering(prompts)})
        return replace(super().asked(prompts), rows=rows, reduce=_statistics([p.key for p in prompts]))

    def found(
        self, model: "Model", prompts: list[Prompt], answer: "Answer"
    ) -> list[tuple[dict[str, Any], dict[str, list[Any]]]]:
        logprobs, chosen, layers = answer
        table = torch.stack(layers)  # [layers, statistics, B, H, R]
        answering, fading = _answering(prompts), self._fading(prompts)
        rows = sorted({*fading, *answering})
        results = []
        for i, (prompt, own) in enumerate(zip(prompts, answering, strict=True)):
            mine = [k for k, row in enumerate(rows) if row not in answering or row == own]
            values = {**scored(model.tokenizer, prompt, logprobs[i], chosen[i]), "answer_position": own}
            results.append((values, _rows(table[:, :, i][..., mine], [rows[k] for k in mine])))
        return results

    def _fading(self, prompts: list[Prompt]) -> list[int]:
        """The rows besides the answering one: half of the length, and halvings of that."""
        return [row for k in range(1, self.probed_rows + 1) if (row := len(prompts[0].ids) >> k) > 0]


def _answering(prompts: list[Prompt]) -> list[int]:
    """The row of each prompt that predicts the first digit of its answer."""
    return [p.digit_start - 1 for p in prompts]


def _statistics(keys: list[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    """Reduce weights [B, H, R, T] to STATISTICS, [statistics, B, H, R]."""

    def reduce(weights: Tensor) -> Tensor:
        a = weights.float()
        needle = torch.stack([a[i, ..., start:stop].sum(-1) for i, (start, stop) in enumerate(keys)])
        total = a.sum(-1)
        entropy = torch.special.entr(l1_normalised(a)).sum(-1)
        effective = entropy.exp().masked_fill(total == 0, 0.0)
        return torch.stack([needle, a.amax(-1), entropy, a[..., 0], effective, (1 - total).clamp(0, 1)])

    return reduce


def _rows(table: Tensor, positions: list[int]) -> dict[str, list[Any]]:
    """[layers, statistics, H, R] as columns, one row for each layer, head and position."""
    layers, _, heads, _probed = table.shape
    index = torch.cartesian_prod(torch.arange(layers), torch.arange(heads), torch.tensor(positions))
    columns: dict[str, list[Any]] = {
        name: index.reshape(-1, 3)[:, i].tolist() for i, name in enumerate(("layer", "head", "position"))
    }
    for i, name in enumerate(STATISTICS):
        columns[name] = table[:, i].flatten().tolist()
    return columns
