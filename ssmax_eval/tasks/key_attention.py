"""Where heads look: weight on the key tokens, and how attention fades as the context grows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, short_floats
from ssmax_eval.tasks.niah import NeedleTask, placed, scored
from ssmax_eval.tasks.prompts import Prompt

if TYPE_CHECKING:
    from ssmax_eval.loader import Model

STATISTICS = ("needle_score", "max_weight", "entropy", "first_weight")


@dataclass(frozen=True, kw_only=True)
class KeyAttention(NeedleTask):
    """Needle score (SSMax paper, Fig. 7 and 8) and fading of every head, from the weights that really ran.

    The needle score of a head is the weight that the row predicting the first digit of the answer puts on the
    tokens of the number. The other rows are spread over the sequence by powers of two.
    """

    kind = "key_attention"
    about = "needle score by layer and head, and attention fading by position"

    probed_rows: int = 6
    """Rows besides the answering one: the last but one, and halvings of it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probed_rows < 0:
            raise UserError(f"probed_rows must be 0 or more; given {self.probed_rows}")

    def measure(
        self, model: "Model", cells: list[Cell], prompts: list[Prompt], common: dict[str, Any]
    ) -> list[Measurement]:
        ids = torch.tensor([p.ids for p in prompts])
        fading = [len(prompts[0].ids) >> k for k in range(1, self.probed_rows + 1)]
        answering = {p.digit_start - 1 for p in prompts}
        rows = sorted(answering | {row for row in fading if row > 0})
        answer_tokens = max(len(p.ids) - p.answer_start for p in prompts)
        logprobs, chosen, layers = model.answer(
            ids, answer_tokens, torch.tensor(rows), _statistics([p.key for p in prompts])
        )
        table = torch.stack(layers)  # [layers, statistics, B, H, R]
        measurements = []
        for i, (cell, prompt) in enumerate(zip(cells, prompts, strict=True)):
            mine = [k for k, row in enumerate(rows) if row not in answering or row == prompt.digit_start - 1]
            values = {**common, **placed(prompt), **scored(model.tokenizer, prompt, logprobs[i], chosen[i])}
            values["answer_position"] = prompt.digit_start - 1
            measurements.append(Measurement(cell, values, _rows(table[:, :, i][..., mine], [rows[k] for k in mine])))
        return measurements


def _statistics(keys: list[tuple[int, int]]) -> Callable[[Tensor], Tensor]:
    """Reduce weights [B, H, R, T] to the four statistics, [4, B, H, R]."""

    def reduce(weights: Tensor) -> Tensor:
        a = weights.float()
        needle = torch.stack([a[i, ..., start:stop].sum(-1) for i, (start, stop) in enumerate(keys)])
        entropy = torch.special.entr(a).sum(-1)
        return torch.stack([needle, a.amax(-1), entropy, a[..., 0]])

    return reduce


def _rows(table: Tensor, positions: list[int]) -> dict[str, list[Any]]:
    """[layers, statistics, H, R] as columns, one row for each layer, head and position."""
    layers, _, heads, _probed = table.shape
    index = torch.cartesian_prod(torch.arange(layers), torch.arange(heads), torch.tensor(positions))
    columns: dict[str, list[Any]] = {
        name: index.reshape(-1, 3)[:, i].tolist() for i, name in enumerate(("layer", "head", "position"))
    }
    for i, name in enumerate(STATISTICS):
        columns[name] = short_floats(table[:, i].flatten().numpy())
    columns["effective_keys"] = short_floats(table[:, STATISTICS.index("entropy")].exp().flatten().numpy())
    return columns
