"""s and b without gradients: every head as sharp at long n as it is at the training length.

One pass over a few documents looks at a few rows at each length. The factor that makes a row at n as sharp as one at
the training length is found by halving; s log n + b is the line of least squares through those factors.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ssmax_eval.attention import Shape
from ssmax_eval.errors import UserError
from ssmax_eval.model import Model
from ssmax_eval.train.calibration.factors import Factors, Values
from ssmax_eval.train.calibration.fitting import Found
from ssmax_eval.train.calibration.settings import Calibration
from ssmax_eval.train.calibration.statistics import STATISTICS, WIDEST, alike
from ssmax_eval.train.calibration.table import Place

ROWS = 16
"""Rows of a document that stand for a length: the last one that sees so many keys, and some before it."""
SPREAD = 8
"""Those rows see from 7/8 of the length to all of it."""


def refuse_too_short(asked: Calibration, train_length: int) -> None:
    """Raise UserError where no length lies beyond the one at which the statistic is right."""
    reference = asked.reference or train_length
    if reference < 2 * ROWS:
        raise UserError(f"the reference must be {2 * ROWS} tokens or more; got {reference}")
    if asked.length <= reference:
        raise UserError(
            f"a closed form needs --lengths beyond the {reference} tokens at which the statistic is right; "
            f"the longest given is {asked.length}"
        )


def solve(
    model: Model, asked: Calibration, factors: Factors, documents: Sequence[Tensor], shape: Shape, place: Place,
    say: Any,
) -> Found:  # fmt: skip
    """Return s and b from the statistic that is asked for, over all documents."""
    reference = asked.reference or shape.train_length
    lengths = sorted({*asked.lengths, reference})
    wanted = [float(torch.tensor(rows_at(length), dtype=torch.float64).log().mean()) for length in lengths]
    log_n = torch.tensor(wanted, dtype=torch.float64)
    state = place.kept() or {"factors": []}
    found: list[Tensor] = state["factors"]
    for ids in documents[len(found) :]:
        found.append(_factors(model, asked, ids, lengths, reference, shape))
        place.keep({"factors": found})
        say(f"document {len(found)}/{len(documents)}")
    relative = torch.stack(found).log().mean(0).exp()
    beyond = relative[..., [length > reference for length in lengths]]
    unreached = float(((beyond > 0.999 * WIDEST) | (beyond < 1.001 / WIDEST)).double().mean())
    start = factors.start.s[..., None] * log_n + factors.start.b[..., None]
    values = line(factors, log_n, relative * start)
    about = {
        "reference": reference,
        "factor_at": {
            str(n): round(float(c), 6) for n, c in zip(lengths, (relative * start).mean((0, 1)), strict=True)
        },
        "not_reached": round(unreached, 6),
    }
    return Found(values, about)


def line(factors: Factors, log_n: Tensor, wanted: Tensor) -> Values:
    """Return s and b of the lines of least squares through the factors `wanted` [layers, heads, lengths] at `log_n`.

    Where heads share s and b, the line goes through the means of their factors.
    """
    layers, heads = factors.start.s.shape
    if heads == 1:
        wanted = wanted.mean(1, keepdim=True)
    if layers == 1:
        wanted = wanted.mean(0, keepdim=True)
    start = factors.start.s[..., None] * log_n + factors.start.b[..., None]
    moves = torch.stack([basis_s * log_n + basis_b for basis_s, basis_b in factors.basis.T], 1)
    solved = (wanted - start) @ torch.linalg.pinv(moves).T
    return factors.values(solved)


def rows_at(length: int) -> list[int]:
    """Return how many keys the rows see that stand for a length."""
    step = max(1, length // SPREAD // ROWS)
    return [length - step * i for i in reversed(range(ROWS)) if length - step * i > 0]


def _factors(
    model: Model, asked: Calibration, ids: Tensor, lengths: Sequence[int], reference: int, shape: Shape
) -> Tensor:
    """Return the factor of every head at each length on one document, float64 [layers, heads, lengths].

    It is relative to the attention that runs; up to the reference it is 1.
    """
    assert asked.closed_form is not None
    statistic = STATISTICS[asked.closed_form]
    groups = [rows_at(length) for length in lengths]
    rows = sorted({n - 1 for group in groups for n in group})
    at = [[rows.index(n - 1) for n in group] for group in groups]

    def reduce(weights: Tensor) -> Tensor:
        z = weights[0].log()  # the scores, but for a constant in each row
        ours = z[:, at[lengths.index(reference)]]
        of_lengths = [
            alike(statistic, z[:, chosen], ours) if length > reference else z.new_ones(len(z))
            for chosen, length in zip(at, lengths, strict=True)
        ]
        return torch.stack(of_lengths, -1)

    found = model.attention_rows(ids, torch.tensor(rows), reduce)
    attending = sorted(model.rewriting.calls) if model.rewriting is not None else []
    wide = torch.ones(shape.layers, shape.heads, len(lengths), dtype=torch.float64)
    for layer, factor in zip(attending, found, strict=True):
        wide[layer] = factor
    return wide
