"""What each finalist came to, as rows of text, and what every candidate costs."""

from typing import NamedTuple

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.extend.candidates import PLAIN
from ssmax_eval.extend.extend import Outcome
from ssmax_eval.extend.values import Difference, Values
from ssmax_eval.extend.verdict import Finding, findings
from ssmax_eval.report.effective import effective_lengths

RULE = "fixed"
"""The rule of effective lengths that is drawn; see `report.effective`."""


class Row(NamedTuple):
    """One candidate in the last rung that measured it."""

    name: str
    finalist: bool
    far: Difference
    """Loss at the far end against plain; of finalists on held-out documents, of others on those that chose."""
    finding: Finding | None
    """The rest of what a finalist came to."""
    effective: tuple[float, float, float] | None
    """Effective length in tokens with its limits."""
    context: Difference | None
    """Context gain, against plain."""
    time: float
    """Seconds per token, in multiples of the plain checkpoint's."""


def rows(outcome: Outcome) -> list[Row]:
    """Return a row for every candidate that was measured, the finalists first, the plain checkpoint above all."""
    last = outcome.steps[-1]
    final = last.rung.decisive is None
    found: dict[str, Row] = {}
    if final:
        effective = effective_of(last.found)
        held_out = last.found.where(held_out=True)
        for one in [*findings(last.found, [PLAIN]), *outcome.verdict.findings]:
            found[one.name] = Row(
                one.name, True, one.far, one, effective.get(one.name),
                held_out.difference("gain", one.name, PLAIN), last.found.seconds_per_token(one.name, PLAIN),
            )  # fmt: skip
    for step in reversed(outcome.steps):
        for name in [PLAIN, *step.measured]:
            far = step.found.far.difference("nll", name, PLAIN)
            if name not in found and far.n:
                time = step.found.seconds_per_token(name, PLAIN)
                found[name] = Row(name, False, far, None, None, None, time)
    return sorted(found.values(), key=lambda row: (row.name != PLAIN, not row.finalist, row.far.mean))


def effective_of(found: Values) -> dict[str, tuple[float, float, float]]:
    """Return up to which length RULER's share of needles is found, with its limits, by candidate."""
    needles = found.frame[found.frame["task"] == found.asked.needles]
    try:
        table = effective_lengths(needles)
    except NothingMeasured:
        return {}
    table = table[table["rule"] == RULE]
    return {
        str(name): (float(length), float(low), float(high))
        for name, length, low, high in zip(table["series"], table["length"], table["low"], table["high"], strict=True)
    }


def cells(row: Row) -> tuple[str, ...]:
    """Return what a table shows of a row."""
    finding = row.finding
    effective = "" if row.effective is None else f"{row.effective[0]:,.0f}"
    return (
        row.name,
        _value(row.far, ".3f") if row.finalist or row.name == PLAIN else "",
        "" if row.name == PLAIN else _change(row.far, "+.3f"),
        "" if finding is None or row.name == PLAIN else _change(finding.short, "+.3f"),
        "" if finding is None else _value(finding.needles, ".0%"),
        effective,
        "" if row.context is None else _value(row.context, "+.3f"),
        f"{row.time:.2f}",
    )


HEAD = (
    "candidate", "loss, far end", "against plain", "loss, within training length", "needles", "effective length",
    "context gain", "time per token",
)  # fmt: skip


def _value(one: Difference, form: str) -> str:
    return f"{one.after:{form}}" if one.n else "not measured"


def _change(one: Difference, form: str) -> str:
    if not one.n:
        return "not measured"
    return f"{one.mean:{form}}" + ("" if one.low != one.low else f" [{one.low:{form}}, {one.high:{form}}]")
