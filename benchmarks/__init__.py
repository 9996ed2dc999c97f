"""What measuring costs here, against what a user would run instead.

Every number is ours as a fraction of the other: 0.59× means 0.59 of its time, and below 1 is faster. Each comparison
runs all its sides in turn within one process, and is written down as soon as it is finished. The same command goes on
with the comparisons that are missing.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import torch

from benchmarks import attention, completing, harness, needle, passes, positions
from benchmarks.figures import draw
from benchmarks.measuring import Comparison, interleaved
from benchmarks.record import Record, machine, read
from benchmarks.subject import Subject
from benchmarks.table import table
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, unknown

__all__ = ["LENGTHS", "QUICK", "SECTIONS", "redraw", "run"]

SECTIONS: dict[str, Callable[[Subject], Iterator[Comparison]]] = {
    "attention": attention.comparisons,
    "positions": positions.comparisons,
    "needle": needle.needles,
    "complete": completing.comparisons,
    "loss": passes.losses,
    "key": needle.keys,
    "memory": passes.memory,
    "harness": harness.comparisons,
    "rate": passes.rate,
}
"""The parts of the table, in its order, and what makes the comparisons of each."""

LENGTHS = (1024, 2048, 4096, 8192, 16384, 20000)
"""Tokens for the attentions by themselves. Whole models run to 4,096, and for their memory to the last length."""
QUICK = (256, 512, 1024)
"""The same for a quick look."""


def run(
    checkpoint: Checkpoint,
    output: str,
    *,
    only: str | None = None,
    lengths: Sequence[int] | None = None,
    repeats: int = 3,
    quick: bool = False,
) -> tuple[str, bool]:
    """Measure what the folder `output` does not hold yet, and write table and figures there.

    Return the table, and whether all sides that must agree do. UserError for an unknown section, a length that cannot
    be, and a folder that holds a bench of something else.
    """
    chosen = [name.strip() for name in only.split(",")] if only else list(SECTIONS)
    for name in chosen:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    lengths = sorted(set(lengths or (QUICK if quick else LENGTHS)))
    if lengths[0] < 16:
        raise UserError(f"lengths must be 16 tokens or more; given {lengths}")
    subject = Subject(checkpoint, tuple(lengths), quick=quick)
    record = Record(Path(output), machine(checkpoint))
    for name in SECTIONS:
        if name not in chosen:
            continue
        for comparison in SECTIONS[name](subject):
            if comparison.key in record.found:
                continue
            click.echo(f"{comparison.key} ...", err=True)
            with torch.inference_mode():
                found = interleaved(comparison, subject.device, 1 if quick else repeats)
            record.add(comparison.key, found)
    return _written(record), all(found.agree is not False for found in record.found.values())


def redraw(folder: str) -> str:
    """Write table and figures of a stored bench again, without measuring; return the table.

    UserError where there is no bench.
    """
    return _written(Record(Path(folder), read(Path(folder)).machine))


def _written(record: Record) -> str:
    text = table(record)
    record.write("bench.md", text.encode())
    draw(record)
    return text
