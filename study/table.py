"""The claims of the two papers, each with the range that it asks for, and what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from study.commands import Commands
from study.families import PLAIN, RAISED, STUDIES, label
from study.measures import Evidence, Explained, Found, Loss, NeedleWeight, Quantity, TrainingLoss
from study.rules import FAILS, HOLDS, Difference, Range, difference, signed

ALIKE = 0.05
"""Losses at the training length that differ by less than this (nats per token) count as about the same."""
FLAT = 0.2
"""A loss that rises by less than this (nats per token) beyond the training length counts as nearly flat."""
FEWER = 0.1
"""Shares of needles that differ by less than this count as about the same."""
LESS, MORE = Range(high=0.0), Range(low=0.0)
NO_WORSE = Range(high=ALIKE)
SAME = Range(-ALIKE, ALIKE)
NO_RISE, RISE = Range(high=FLAT), Range(low=FLAT)


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, as a range for one difference: this − than."""

    text: str
    paper: str
    """What the paper reports."""
    this: str
    """A family."""
    than: str
    """Another, or the same."""
    wanted: Range
    quantity: Quantity
    before: Quantity | None = None
    """What `than` is measured by, where it is not `quantity`: the loss nearer by, for a rise."""
    details: tuple[Claim, ...] = ()
    """Claims that tell where it comes from, should this one not hold."""


@dataclass(frozen=True)
class Outcome:
    """A claim with what was measured."""

    claim: Claim
    found: Difference | None
    commands: list[int]
    """Numbers in the page's list."""

    @property
    def verdict(self) -> str:
        """One of four, by `Range.verdict`."""
        return self.claim.wanted.verdict(self.found)

    def measured(self) -> str:
        """The two values, their difference with its interval, and what that rests on."""
        if self.found is None:
            return "–"
        claim, found = self.claim, self.found
        percent = claim.quantity.percent
        than, this = (f"{100 * x:.0f} %" if percent else f"{x:.3f}" for x in (found.than, found.this))
        if claim.this == claim.than:
            values = f"{label(claim.this)} from {than} to {this}"
        else:
            values = f"{label(claim.than)} {than}, {label(claim.this)} {this}"
        mean, low, high = (signed(x, percent, 3) for x in (found.mean, found.low, found.high))
        limits = "no interval" if math.isnan(found.low) else f"[{low}, {high}] over {found.over}"
        limits = limits.replace(" points,", ",")
        seeds = f"{found.seeds} seeds" if found.seeds > 1 else "**one seed**"
        return f"{values}: {mean} {limits}; {seeds}, {found.units} {claim.quantity.unit} each"


def outcomes(evidence: Evidence, commands: Commands) -> list[Outcome]:
    """Every claim, in order, with what the evidence says."""
    return [_outcome(claim, evidence, commands) for claim in claims(evidence.train_length)]


def looked_into(found: list[Outcome], evidence: Evidence, commands: Commands) -> list[Outcome]:
    """What did not hold, in detail and on the same families trained in another way; only what was measured."""
    failed = [outcome.claim for outcome in found if outcome.verdict == FAILS]
    again = [
        claim
        for c in failed
        for claim in (*c.details, *(replace(c, this=c.this + end, than=c.than + end) for end in STUDIES))
    ]
    return [outcome for claim in again if (outcome := _outcome(claim, evidence, commands)).found is not None]


def _outcome(claim: Claim, evidence: Evidence, commands: Commands) -> Outcome:
    quantities = (claim.quantity, claim.before or claim.quantity)
    sides = list(zip(quantities, (claim.this, claim.than), strict=True))
    this, than = (quantity.values(evidence, family) for quantity, family in sides)
    change = difference(this, than, claim.quantity.unit, shares=claim.quantity.percent)
    typed = [line for quantity, family in sides for line in quantity.commands(evidence, family)]
    return Outcome(claim, change, commands.numbers(typed) if change else [])


def claims(n: int) -> list[Claim]:
    """The claims, for checkpoints trained with n tokens: first of arXiv 2501.19399, then of arXiv 2501.13428."""
    far, far_plain = Loss(RAISED, 10_000, 19_999), Loss(PLAIN, 10_000, 19_999)
    needle = Found(RAISED, 10 * n)

    def to(multiple: int) -> Loss:
        return Loss(PLAIN, 1, multiple * n - 1, length=16 * n)

    trained = Loss(PLAIN, 1, n - 1, length=n)
    by_position = tuple(
        Claim(f"SSMax predicts unseen texts of the training length better at positions {first} to {last}",
              "in the mean, over 1 to 1 024", "ssmax", "softmax", LESS, Loss(PLAIN, first, last, length=n))
        for first, last in ((1, 7), (n // 2, n - 1))
    )  # fmt: skip
    near = Loss(RAISED, n // 2, n - 1)
    as_far = Claim("SSMax's loss is nearly flat as far as the paper went, to 10 to 20 × the training length, × 50",
                   "stays low", "ssmax", "ssmax", NO_RISE, Loss(RAISED, 10 * n, 20 * n - 1), near)  # fmt: skip
    follows_log = Claim(
        "A factor learned freely for every n follows log n, more closely than n (R² of a straight line)",
        "a₁ log n + a₂", "per-n", "per-n", MORE, Explained(in_log=True), Explained(in_log=False),
    )  # fmt: skip
    return [
        Claim("SSMax ends with a lower training loss than softmax", "about 0.008 lower",
              "ssmax", "softmax", LESS, TrainingLoss(), details=by_position),
        replace(follows_log, this="per-n-512", than="per-n-512", details=(follows_log,)),
        Claim("SSMax predicts text better than softmax at positions 10 000 to 20 000, RoPE base × 50",
              "softmax rises sharply, SSMax stays low", "ssmax", "softmax", LESS, far),
        Claim("SSMax's loss is nearly flat from the end of the training length to positions 10 000 to 20 000, × 50",
              "stays low", "ssmax", "ssmax", NO_RISE, far, near, details=(as_far,)),
        Claim("SSMax predicts text better than softmax at positions 10 000 to 20 000, plain RoPE",
              "long evaluations have base × 50 only", "ssmax", "softmax", LESS, far_plain),
        Claim("SSMax finds needles at 10 × the training length where softmax fails, base × 50",
              "found; softmax fails", "ssmax", "softmax", MORE, needle),
        Claim("SSMax's best head puts more weight on the needle's digits at 8 × the training length, base × 50",
              "far higher needle scores", "ssmax", "softmax", MORE, NeedleWeight(RAISED, 8 * n)),
        Claim("Swapping softmax for SSMax after training lowers the loss at 10 000 to 20 000, base × 50",
              "keeps part of the gain", "ssmax-after", "softmax", LESS, far),
        Claim("Swapping after training finds more needles at 10 ×, base × 50", "keeps part of the gain",
              "ssmax-after", "softmax", MORE, needle),
        Claim("Swapping late in training lowers the loss at 10 000 to 20 000, base × 50", "keeps part of the gain",
              "ssmax-late", "softmax", LESS, far),
        Claim("Swapping late in training finds more needles at 10 ×, base × 50", "keeps part of the gain",
              "ssmax-late", "softmax", MORE, needle),
        Claim("SSMax with a bias trains no worse than without", "trains well",
              "ssmax-bias", "ssmax", NO_WORSE, TrainingLoss()),
        Claim("SSMax with a bias predicts worse at 10 000 to 20 000 than without, base × 50",
              "hurts length generalisation", "ssmax-bias", "ssmax", MORE, far),
        Claim("SSMax with s fixed to 1 trains about as well as with learned s", "about as well",
              "ssmax-s1", "ssmax", SAME, TrainingLoss()),
        Claim("SSMax with s fixed to 1 finds about as many needles at 10 ×, base × 50", "about as well",
              "ssmax-s1", "ssmax", Range(-FEWER, FEWER), needle),
        Claim("LSSA equals softmax at the training length", "3.1905 and 3.1911 nats",
              "lssa", "softmax", SAME, trained),
        Claim("LSSAR p=15 equals softmax at the training length", "3.19 and 3.19 nats",
              "lssar", "softmax", SAME, trained),
        Claim("LSSAR p=15 has a nearly flat loss from 1 × to 16 × the training length",
              "3.19 at 1 ×, 3.32 at 8 ×, 3.3171 at 16 ×", "lssar", "lssar", NO_RISE, to(16), to(1)),
        Claim("LSSAR p=15 has a lower loss than softmax at 16 ×", "3.3171, softmax 7.0183",
              "lssar", "softmax", LESS, to(16)),
        Claim("LSSAR p=3 does not reach as far: its loss rises from 1 × to 8 ×", "3.18 at 1 ×, 6.30 at 8 ×",
              "lssar-p3", "lssar-p3", RISE, to(8), to(1)),
        Claim("LSSAR p=15 finds more needles than softmax at the training length", "86 %, softmax 64 %",
              "lssar", "softmax", MORE, Found(PLAIN, n)),
        Claim("LSSAR p=15 still finds needles at 2 × where softmax does not", "45 % at 1.5 ×, softmax 0",
              "lssar", "softmax", MORE, Found(PLAIN, 2 * n)),
        Claim("LSSAR p=15 still finds needles at 4 × where softmax does not", "20 %, softmax 0",
              "lssar", "softmax", MORE, Found(PLAIN, 4 * n)),
    ]  # fmt: skip


def markdown(found: list[Outcome]) -> str:
    """The claims as a Markdown table, a row each."""
    lines = ["| claim (and the difference it asks for) | the paper | measured here | verdict | commands |"]
    lines.append("|---|---|---|---|---|")
    for outcome in found:
        claim = outcome.claim
        asked = claim.wanted.text(claim.quantity.percent)
        verdict = f"**{outcome.verdict}**" if outcome.verdict == HOLDS else outcome.verdict
        numbers = ", ".join(f"[{number}](#commands)" for number in outcome.commands)
        lines.append(f"| {claim.text} ({asked}) | {claim.paper} | {outcome.measured()} | {verdict} | {numbers} |")
    return "\n".join(lines)
