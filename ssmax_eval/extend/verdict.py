"""What is recommended: the candidate that the intervals say is better than doing nothing, else nothing."""

from collections.abc import Sequence
from typing import NamedTuple

from ssmax_eval.extend.candidates import PLAIN
from ssmax_eval.extend.rungs import LOSS, NEEDLES, Asked
from ssmax_eval.extend.values import Difference, Values

FREE = 0.02
"""Nats per token within the training length that a recommendation may cost where there is another."""


class Finding(NamedTuple):
    """What a finalist came to, against the plain checkpoint, on documents and trials that chose nothing."""

    name: str
    far: Difference
    """Loss at the far end."""
    short: Difference
    """Loss within the training length."""
    needles: Difference
    """Needles found in contexts of full length."""

    @property
    def helps(self) -> bool:
        """Whether the interval of loss or of needles says better, and neither says worse."""
        better = self.far.better(LOSS.better) or self.needles.better(NEEDLES.better)
        return better and not (self.far.worse(LOSS.better) or self.needles.worse(NEEDLES.better))


class Verdict(NamedTuple):
    """The recommendation."""

    name: str | None
    """The candidate; None: nothing is recommended."""
    sentence: str
    findings: list[Finding]


def findings(found: Values, names: Sequence[str]) -> list[Finding]:
    """Return what each finalist came to."""
    full = found.where(held_out=True, length=found.asked.to)
    return [
        Finding(
            name,
            found.far.where(held_out=True).difference(LOSS.name, name, PLAIN),
            found.short.where(held_out=True).difference(LOSS.name, name, PLAIN),
            full.difference(NEEDLES.name, name, PLAIN),
        )
        for name in names
    ]


def verdict(found: Values, names: Sequence[str], label: str) -> Verdict:
    """Recommend one of the finalists, or nothing.

    Among those that help, it is one that finds most needles: all whose needles are not fewer by their interval than
    those of the best. Of these it is one that costs at most `FREE` within the training length, where there is any; of
    these the one with the lowest loss at the far end.
    """
    every = findings(found, names)
    helping = [one for one in every if one.helps]
    if not helping:
        return Verdict(None, _nothing(every, found.asked, label), every)
    most = max(helping, key=lambda one: one.needles.mean if one.needles.n else float("-inf"))
    full = found.where(held_out=True, length=found.asked.to)
    alike = [
        one
        for one in helping
        if one is most or not full.difference(NEEDLES.name, one.name, most.name).worse(NEEDLES.better)
    ]
    best = min([one for one in alike if one.short.mean <= FREE] or alike, key=lambda one: one.far.mean)
    return Verdict(best.name, _recommended(best, found.asked, label), every)


def _recommended(best: Finding, asked: Asked, label: str) -> str:
    return (
        f"For {label} to read {asked.to:,} tokens, {best.name} is recommended: against doing nothing, the loss at "
        f"positions {asked.far:,} to {asked.to - 1:,} changes by {nats(best.far)}, needles found at {asked.to:,} "
        f"tokens go from {best.needles.before:.0%} to {best.needles.after:.0%} ({points(best.needles)}), and within "
        f"the training length the loss changes by {nats(best.short)}{_costs(best)}."
    )


def _costs(best: Finding) -> str:
    if best.short.worse(LOSS.better):
        return ", which is what it costs"
    return "" if best.short.better(LOSS.better) else ", which is inconclusive"


def _nothing(every: Sequence[Finding], asked: Asked, label: str) -> str:
    text = f"For {label} to read {asked.to:,} tokens, nothing is recommended: "
    if not every:
        return text + "no candidate could be measured."
    if all(one.far.low != one.far.low and one.needles.low != one.needles.low for one in every):
        return text + "no difference has an interval; it takes five texts, or five documents of one text."
    best = min(every, key=lambda one: one.far.mean)
    return (
        f"{text}no interval says that a candidate is better than doing nothing and worse in nothing. Nearest is "
        f"{best.name}: the loss at the far end changes by {nats(best.far)}, needles found by {points(best.needles)}."
    )


def nats(one: Difference) -> str:
    """Return a difference of losses with its interval."""
    return "an unknown amount" if not one.n else f"{one.mean:+.3f} nats per token ({interval(one, '+.3f')})"


def points(one: Difference) -> str:
    """Return a difference of shares with its interval."""
    return "not measured" if not one.n else f"{one.mean:+.0%}, {interval(one, '+.0%')}"


def interval(one: Difference, form: str) -> str:
    """Return the 95 % limits of a difference."""
    return "no interval" if one.low != one.low else f"95 %: {one.low:{form}} to {one.high:{form}}"
