"""The table of a bench: medians as ratios, with their spread, and peak memory beside them."""

from statistics import median

import pandas as pd

from benchmarks.measuring import Found
from benchmarks.record import Record
from ssmax_eval.report.export import markdown

MIB = 1 << 20


def table(record: Record) -> str:
    """One Markdown table, with what the machine is and how to read it."""
    rows = [row for found in record.found.values() for row in _rows(found)]
    machine = ", ".join(f"{name} {value}" for name, value in record.machine.items() if name not in ("fingerprint",))
    return "\n".join([
        f"# What measuring costs: {record.machine['checkpoint']}",
        "",
        "Time: median over interleaved runs of what stands in the second column, as a multiple of what stands in the "
        "third (lowest to highest of the rounds); below 1 it is faster. Memory: the peak above what was held before, "
        "likewise as a multiple, and in MiB (second column / third); from a run of its own, in which freed blocks are "
        "returned to the system at once.",
        "",
        markdown(pd.DataFrame(rows)) if rows else "Nothing is measured yet.",
        "",
        f"Measured {record.date}: {machine}.",
        "",
    ])  # fmt: skip


def _rows(found: Found) -> list[dict[str, str]]:
    return [
        {
            "what": found.title,
            "this": name,
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
    """A side's time as a multiple of the time it is compared with, round by round."""
    pairs = zip(found.seconds[name], found.seconds[found.against], strict=False)
    return [mine / theirs for mine, theirs in pairs]


def _time(found: Found, name: str) -> str:
    each = ratios(found, name)
    if not each:
        return "–"
    middle = median(found.seconds[name]) / median(found.seconds[found.against])
    spread = f" ({min(each):.2f}–{max(each):.2f})" if len(each) > 1 else ""
    return f"{middle:.2f}{spread}"


def _memory(found: Found, name: str) -> str:
    mine, theirs = found.extra_bytes.get(name), found.extra_bytes.get(found.against)
    return f"{mine / theirs:.2f}" if mine is not None and theirs else "–"


def _mib(found: Found, name: str) -> str:
    extra = found.extra_bytes.get(name)
    return "–" if extra is None else f"{extra / MIB:,.0f}"


def _remark(found: Found, name: str) -> str:
    if found.agree is False:
        return f"NOT THE SAME: {found.remark}"
    if found.section == "rate" and found.seconds[name]:
        share = median(found.seconds[found.against]) / median(found.seconds[name])
        return f"{share:.0%} of what the machine's matrix product does"
    return found.remark
