"""The tables of a bench. Every number is ours as a fraction of the other: 0.59× is faster, 1.2× slower."""

from collections.abc import Iterator
from statistics import median

import pandas as pd

from benchmarks.measuring import Found
from benchmarks.record import Record
from ssmax_eval.report.export import markdown

MIB = 1 << 20
NOTHING = "–"
"""What stands where there is no number."""
SHORT = {"attention": ("ssmax", "lssar", "lssar, no compiler"), "positions": ("rerope", "self_extend", "dca")}
"""What the short table shows of the attentions and the position maps by themselves, at the longest length."""


def table(record: Record) -> str:
    """The bench as a Markdown page: how to read it, a short table, every comparison, and what the machine is."""
    machine = ", ".join(f"{name} {value}" for name, value in record.machine.items() if name != "fingerprint")
    rows = pd.DataFrame([row for found in record.found.values() for row in _rows(found)])
    parts = [
        f"# What measuring costs: {record.machine['checkpoint']}",
        "Every number is ours as a fraction of the other: 0.59× means that ours takes 0.59 of the time, or of the "
        "memory, of what stands under \"against\". Below 1 is faster, or smaller.",
        "Time: median of runs in which both sides take turns; in brackets the lowest and the highest round. Memory: "
        "the peak above what was held before the call, also in MiB (ours / the other). It comes from a run of its own, "
        "in which freed blocks go back to the system at once.",
    ]  # fmt: skip
    if len(rows):
        parts += ["## In short", short(record), "## Every comparison", markdown(rows)]
    else:
        parts += ["Nothing is measured yet."]
    return "\n\n".join([*parts, f"Measured {record.date}: {machine}."]) + "\n"


def short(record: Record) -> str:
    """A Markdown table without spreads and remarks; of the attentions by themselves, some at the longest length."""
    rows = [
        {
            "what": found.title if len(found.seconds) == 2 else f"{found.title}: {name}",
            "against": found.against,
            "time": _time(found, name, spread=False),
            "peak memory": _memory(found, name),
        }
        for found, name in _chosen(record)
    ]
    return markdown(pd.DataFrame(rows)) if rows else "Nothing is measured yet."


def _chosen(record: Record) -> Iterator[tuple[Found, str]]:
    longest = {
        section: max((found.length or 0 for found in record.found.values() if found.section == section), default=0)
        for section in SHORT
    }
    for found in record.found.values():
        for name in found.seconds:
            shown = name in SHORT.get(found.section, (name,))
            if name != found.against and shown and found.length == longest.get(found.section, found.length):
                yield found, name


def _rows(found: Found) -> list[dict[str, str]]:
    return [
        {
            "what": found.title,
            "ours": name,
            "against": found.against,
            "time": _time(found, name),
            "runs": str(len(found.seconds[name])),
            "memory": _memory(found, name),
            "MiB": f"{_mib(found, name)} / {_mib(found, found.against)}",
            "remark": _remark(found, name),
        }
        for name in found.seconds
        if name != found.against
    ]


def ratios(found: Found, name: str) -> list[float]:
    """A side's time as a fraction of the time it is compared with, round by round."""
    pairs = zip(found.seconds[name], found.seconds[found.against], strict=False)
    return [ours / other for ours, other in pairs]


def _time(found: Found, name: str, *, spread: bool = True) -> str:
    each = ratios(found, name)
    if not each:
        return NOTHING
    middle = median(found.seconds[name]) / median(found.seconds[found.against])
    rounds = f" ({min(each):.2f}–{max(each):.2f})" if spread and len(each) > 1 else ""
    return f"{middle:.2f}×{rounds}"


def _memory(found: Found, name: str) -> str:
    ours, other = found.extra_bytes.get(name), found.extra_bytes.get(found.against)
    return f"{ours / other:.2f}×" if ours is not None and other else NOTHING


def _mib(found: Found, name: str) -> str:
    extra = found.extra_bytes.get(name)
    return NOTHING if extra is None else f"{extra / MIB:,.0f}"


def _remark(found: Found, name: str) -> str:
    if found.agree is False:
        return f"NOT THE SAME: {found.remark}"
    if found.section == "rate" and found.seconds[name]:
        share = median(found.seconds[found.against]) / median(found.seconds[name])
        return f"{share:.0%} of what the machine's matrix product does"
    return found.remark
