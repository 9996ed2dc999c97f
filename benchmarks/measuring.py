"""Two or more ways to the same answer, run in turn and timed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.memory import Watched, timed, watched
from ssmax_eval.run.measure import out_of_memory

SHORT = 2.0
"""A run of fewer seconds is done twice for its memory, since the first one pays for what libraries set up once."""
PATIENCE = 90.0
"""Seconds after which a comparison gets no further round."""

Call = Callable[[], Any]
Side = Callable[[], AbstractContextManager[Call]]
"""Makes a call ready to be measured, and gives it. Getting ready is not measured."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a user would run, and what runs here instead."""

    section: str
    title: str
    """What is measured, and at what length."""
    against: str
    """The side that the others are compared with: what a user would run."""
    sides: Mapping[str, Side]
    """All sides by name, `against` among them."""
    units: Mapping[str, float] = field(default_factory=dict)
    """How much work a side's call does, where it is not the same for all. Its time is divided by that."""
    agreement: Callable[[Mapping[str, Any]], tuple[str, bool | None]] | None = None
    """From the results by side: a remark, and whether they are the same."""
    skipped: str = ""
    """Why it cannot be run here."""
    length: int | None = None
    """Context length in tokens."""

    @property
    def key(self) -> str:
        return f"{self.section}: {self.title}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a comparison gave."""

    section: str
    title: str
    against: str
    length: int | None
    seconds: dict[str, list[float]]
    """Every time of every side, per unit of work, in the order of the rounds."""
    extra_bytes: dict[str, int]
    """Peak memory of every side, above what was held before it ran."""
    remark: str = ""
    agree: bool | None = None
    """Whether the sides gave the same; None where there is nothing to compare."""


def interleaved(comparison: Comparison, device: torch.device, repeats: int) -> Found:
    """Run all sides in turn: once for their memory, then `repeats` rounds for their time.

    There are fewer rounds where they take longer than PATIENCE. Watching memory slows some sides more than others, so
    a run that is watched is not timed. A side that runs out of memory has no times.
    """
    results: dict[str, Any] = {}
    extra: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in comparison.sides}
    for name, side in comparison.sides.items() if not comparison.skipped else ():
        with side() as call:
            first = _fitting(call, device)
            if first is not None and first.seconds < SHORT:
                first = watched(call, device)
        if first is not None:
            results[name], extra[name] = first.result, first.extra_bytes
    rounds, spent = 0, 0.0
    while results and rounds < repeats and spent <= PATIENCE:
        rounds += 1
        for name in results:
            with comparison.sides[name]() as call:
                _, seconds = timed(call, device)
            times[name].append(seconds)
            spent += seconds
    remark, agree = "", None
    if comparison.agreement is not None and len(results) == len(comparison.sides):
        remark, agree = comparison.agreement(results)
    if lost := [name for name in comparison.sides if name not in results]:
        remark = comparison.skipped or f"out of memory: {', '.join(lost)}"
    units = comparison.units
    return Found(
        section=comparison.section,
        title=comparison.title,
        against=comparison.against,
        length=comparison.length,
        seconds={name: [s / units.get(name, 1) for s in seconds] for name, seconds in times.items()},
        extra_bytes=extra,
        remark=remark,
        agree=agree,
    )


def _fitting(call: Call, device: torch.device) -> Watched[Any] | None:
    try:
        return watched(call, device)
    except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    return None


def ready(call: Call) -> Side:
    """A side that needs nothing to get ready."""

    @contextmanager
    def side() -> Iterator[Call]:
        yield call

    return side
