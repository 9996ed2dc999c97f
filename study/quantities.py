"""The words for a quantity in `claims.yaml`, and the measure that each stands for."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from ssmax_eval.errors import UserError
from study.families import ROPES
from study.measures import Explained, Found, Loss, Measure, NeedleWeight, TrainingLoss

LENGTH = re.compile(r"(\d+)|(\d+(?:/[1-9]\d*)?)x")
"""Tokens, or a multiple of the training length: 20000, 16x, 1/2x."""
OF_TRAINING: dict[str, Measure] = {
    "training loss on text": TrainingLoss(),
    "R2 of the learned factors in log n": Explained(in_log=True),
    "R2 of the learned factors in n": Explained(in_log=False),
}
"""What is read off the training, word for word."""
MEASURED: dict[str, Callable[..., Measure]] = {
    "loss at positions A until B": lambda rope, first, end: Loss(rope, first, end - 1),
    "loss at positions A until B in documents of L": lambda rope, first, end, n: Loss(rope, first, end - 1, n),
    "needles found at L": Found,
    "weight of the best head at L": NeedleWeight,
}
"""What was measured with one RoPE: the words, with A, B and L for lengths, and the measure of RoPE and lengths."""


def measure(words: str, rope: str | None, n: int, where: str) -> Measure:
    """The measure that these words stand for, of checkpoints trained with n tokens.

    UserError, naming `where` the words stand, for unknown words, an unknown or missing RoPE, and a RoPE too many.
    """
    if words in OF_TRAINING:
        if rope is not None:
            raise UserError(f"{where}: {words!r} is read off the training and has no rope; given {rope!r}")
        return OF_TRAINING[words]
    for form, make in MEASURED.items():
        match = re.fullmatch(re.sub(r"\b[ABL]\b", r"(\\S+)", form), words)
        if match is None:
            continue
        if rope not in ROPES:
            raise UserError(f"{where}: {words!r} needs a rope, one of {', '.join(map(repr, ROPES))}; given {rope!r}")
        lengths = [tokens(text, n, where) for text in match.groups()]
        if len(lengths) > 1 and not 1 <= lengths[0] < lengths[1]:
            raise UserError(f"{where}: positions go from 1 or more to a later one; given {words!r}")
        return make(rope, *lengths)
    raise UserError(f"{where}: unknown quantity {words!r}; known: {', '.join([*OF_TRAINING, *MEASURED])}")


def tokens(text: str, n: int, where: str) -> int:
    """A length in tokens: "20000", or "16x" for 16 times the training length n. UserError for other text."""
    match = LENGTH.fullmatch(text)
    if match is None:
        raise UserError(f"{where}: a length is tokens (20000) or a multiple of the training length (16x, 1/2x); "
                        f"given {text!r}")  # fmt: skip
    return int(match[1]) if match[1] else int(Fraction(match[2]) * n)
