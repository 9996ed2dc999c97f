"""What a calibration is asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from ssmax_eval.corpus import digest, read_texts
from ssmax_eval.errors import UserError, shown, unknown

NAMES = ("s", "b")
"""Parameters of SSMax, in the order in which they are written."""
PER = ("head", "layer", "model")
STATISTICS = ("entropy", "largest", "gaps")
MOST_STEPS = 100_000
PASSES = 3
"""Forward passes that a document with its gradient takes: one, another in the backward pass, and that itself."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Which numbers are fitted, on what, and how."""

    lengths: tuple[int, ...]
    """Tokens at which stretches of a document end. A document that is fitted on is as long as the longest; the
    positions before the first, and those between two, count the same in the loss that is lowered."""
    fit: tuple[str, ...] = NAMES
    """Which of s and b are fitted; the other stays where softmax has it."""
    per: str = "head"
    """What has numbers of its own: a head, a layer or the model."""
    steps: int = 30
    """Steps of Adam."""
    lr: float = 0.02
    """Largest learning rate: about how far a step moves the factor s log n + b. It falls to 0 along a line."""
    documents: int = 2
    """Documents of a step; in closed form, documents in all."""
    closed_form: str | None = None
    """The statistic that is kept as it is at the training length; None: gradient steps."""
    reference: int | None = None
    """Tokens at which the statistic is right, in closed form; None: the training length."""
    seed: int = 0
    """Decides the order of the documents."""
    texts: tuple[str, ...] = ()
    """Text files or folders; without any, the built-in text."""
    held_out: int = 8
    """Documents that are measured before and after, and never fitted on: the first that the `loss` task reads."""
    held_out_length: int | None = None
    """Their tokens; None: the longest of `lengths`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", tuple(sorted(set(self.lengths))))
        object.__setattr__(self, "fit", tuple(name for name in NAMES if name in self.fit or _strange(self.fit)))
        if not self.lengths or self.lengths[0] < 2:
            raise UserError(f"lengths must be 2 tokens or more; given {list(self.lengths)}")
        if not self.fit:
            raise UserError("fit must name s, b or both, as in s,b; given nothing")
        if self.per not in PER:
            raise unknown("value of per:", self.per, PER)
        if self.closed_form is not None and self.closed_form not in STATISTICS:
            raise unknown("statistic", self.closed_form, STATISTICS)
        if not 0 <= self.steps <= MOST_STEPS:
            raise UserError(f"steps must be 0 to {MOST_STEPS:,}; given {shown(self.steps)}")
        if not 0 < self.lr < 10:
            raise UserError(f"lr must be above 0 and below 10; given {shown(self.lr)}")
        for name in ("documents", "held_out"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more; given {getattr(self, name)}")
        if self.held_out_length is not None and self.held_out_length < self.length:
            raise UserError(
                f"held-out documents must be as long as those that are fitted on, {self.length} tokens, or longer; "
                f"given {self.held_out_length}"
            )

    @property
    def length(self) -> int:
        """Tokens of a document that is fitted on."""
        return self.lengths[-1]

    @property
    def measured_length(self) -> int:
        """Tokens of a held-out document."""
        return self.held_out_length or self.length

    def identity(self) -> dict[str, Any]:
        """Return what decides the table, as plain values; of the texts a digest of their content."""
        left_out = {"reference"} if self.closed_form is None else {"steps", "lr"}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        values |= {"texts": digest(read_texts(self.texts)), "held_out_length": self.measured_length}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _strange(given: Sequence[str]) -> bool:
    """Raise UserError for a name that is no parameter; False where there is none."""
    for name in given:
        if name not in NAMES:
            raise unknown("parameter to fit:", name, NAMES)
    return False
