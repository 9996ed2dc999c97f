"""What measuring costs here, against what a user would run instead: interleaved, one table, ratios.

Each comparison runs all its sides in turn within one process, and is written down as soon as it is finished; the
same command goes on with those that are missing.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import torch

from benchmarks import attention, harness, needle, passes
from benchmarks.figures import draw
from benchmarks.measuring import Comparison, interleaved
from benchmarks.record import Record, machine
from benchmarks.subject import Subject
from benchmarks.table import table
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, unknown

__all__ = ["LENGTHS", "QUICK", "SECTIONS", "run"]

SECTIONS: dict[str, Callable[[Subject], Iterator[Comparison]]] = {
    "attention": attention.comparisons,
    "needle": needle.needles,
    "loss": passes.losses,
    "key": needle.keys,
    "memory": passes.memory,
    "harness": harness.comparisons,
    "rate": passes.rate,
}
"""The parts of the table, in its order."""

LENGTHS = (1024, 2048, 4096, 8192, 16384, 20000)
"""Tokens for the attentions by themselves; whole models run to 4,096 of them, and for their memory to the last."""
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
    """Measure what `output` does not hold yet, write table and figures there: the table, and whether all answers agree.

    UserError for an unknown section, a length that cannot be, and a folder that holds another bench.
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
                found = interleaved(comparison, checkpoint.device_and_dtype.device, 1 if quick else repeats)
            record.add(comparison.key, found)
    text = table(record)
    record.write("bench.md", text.encode())
    draw(record)
    return text, all(found.agree is not False for found in record.found.values())
