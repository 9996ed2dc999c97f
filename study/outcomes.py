"""What was measured for each claim, and the table of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from study.claims import Claim
from study.families import label, listed
from study.measures import Evidence
from study.verdicts import ABSENT, FAILS, FEWEST, HOLDS, OPEN, Difference, difference, divided, signed


@dataclass(frozen=True)
class Outcome:
    """A claim with what was measured."""

    claim: Claim
    found: Difference | None
    """None where something was not measured."""

    @property
    def verdict(self) -> str:
        """One of four, by `Range.verdict`, and by `divided` where the claim draws a line."""
        verdicts = {self.claim.wanted.verdict(self.found)}
        if self.claim.line is not None:
            verdicts.add(divided(self.found, self.claim.line))
        return next(one for one in (ABSENT, FAILS, OPEN, HOLDS) if one in verdicts)

    def measured(self) -> str:
        """The two values, their difference with its interval, and how much that rests on."""
        if self.found is None:
            return "–"
        claim, found = self.claim, self.found
        percent = claim.measure.percent
        than, this = (f"{100 * x:.0f} %" if percent else f"{x:.3f}" for x in (found.than, found.this))
        if claim.line is not None:
            than, this = f"{than}{_limits(found.than_limits)}", f"{this}{_limits(found.this_limits)}"
        if claim.this == claim.than:
            values = f"{label(claim.this)} from {than} to {this}"
        else:
            values = f"{label(claim.than)} {than}, {label(claim.this)} {this}"
        mean, low, high = (signed(x, percent, 3) for x in (found.mean, found.low, found.high))
        limits = (
            f"no interval, fewer than {FEWEST} {found.over}"
            if math.isnan(found.low)
            else f"[{low}, {high}] over {found.over}"
        )
        limits = limits.replace(" points,", ",")
        seeds = f"{found.seeds} seeds" if found.seeds > 1 else "**one seed**"
        units = f"{found.units} {claim.measure.unit} each{_few_texts(found.texts)}"
        return f"{values}: {mean} {limits}; {seeds}, {units}"


def _limits(limits: tuple[float, float]) -> str:
    return "" if math.isnan(limits[0]) else f" [{100 * limits[0]:.0f}, {100 * limits[1]:.0f} %]"


def _few_texts(texts: int) -> str:
    """How few texts the documents come from, in words; nothing where they are enough for an interval, or no matter."""
    words = ("", "one text", "two texts", "three texts", "four texts")
    return f", on **{words[texts]}**" if 0 < texts < FEWEST else ""


def outcome(claim: Claim, evidence: Evidence) -> Outcome:
    """What the evidence says of a claim."""
    this = claim.measure.values(evidence, claim.this)
    than = claim.than_measure.values(evidence, claim.than)
    return Outcome(claim, difference(this, than, claim.measure.unit, shares=claim.measure.percent))


def looked_into(outcomes: Sequence[Outcome], evidence: Evidence) -> list[Outcome]:
    """The details of the claims that do not hold, and the same claims on families trained in another way.

    What was not measured is left out.
    """
    closer = [
        closer
        for claim in (one.claim for one in outcomes if one.verdict == FAILS)
        for closer in (*claim.details, *(_in(ending, claim) for ending in listed().studies))
    ]
    found = (outcome(claim, evidence) for claim in closer)
    return [one for one in found if one.verdict != ABSENT]


def _in(ending: str, claim: Claim) -> Claim:
    """The claim about the same families trained in another way."""
    return replace(claim, this=claim.this + ending, than=claim.than + ending)


def tally(outcomes: Sequence[Outcome]) -> str:
    """How many claims have each verdict; those that rest on one seed are counted apart."""
    single, several, absent = (
        _counts([one for one in outcomes if one.found is not None and one.found.seeds == 1]),
        _counts([one for one in outcomes if one.found is not None and one.found.seeds > 1]),
        _counts([one for one in outcomes if one.found is None]),
    )
    parts = ((several and f"on several seeds: {several}"), (single and f"on one seed: {single}"), absent)
    return "; ".join(part for part in parts if part)


def expected_false(outcomes: Sequence[Outcome]) -> str:
    """How many verdicts chance alone may make wrong, in a sentence."""
    tested = [one.found for one in outcomes if one.found is not None and not math.isnan(one.found.low)]
    single = sum(found.seeds == 1 for found in tested)
    return (
        f"Claims with an interval of 95 %: {len(tested)}, of which {single} on one seed. They are not corrected for "
        "their number: if each difference lay just at the limit that its claim asks for, chance alone would give "
        f"{len(tested) * 0.05:.2g} false verdicts ({single * 0.05:.2g} of them on one seed)."
    )


def _counts(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(one.verdict for one in outcomes)
    return ", ".join(f"{verdict} {counts[verdict]}" for verdict in (HOLDS, FAILS, OPEN, ABSENT) if counts[verdict])


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The claims as a Markdown table, a row each."""
    lines = ["| claim (and the difference it asks for) | the paper | measured here | verdict |", "|---|---|---|---|"]
    for one in outcomes:
        claim = one.claim
        asked = claim.wanted.text(claim.measure.percent)
        if claim.line is not None:
            asked += f"; {label(claim.than)} below {100 * claim.line:.0f} %, {label(claim.this)} above"
        verdict = f"**{one.verdict}**" if one.verdict == HOLDS else one.verdict
        lines.append(f"| {claim.text} ({asked}) | {claim.reported} | {one.measured()} | {verdict} |")
    return "\n".join(lines)
