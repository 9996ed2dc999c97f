"""Shards: several processes, each of which measures its part of the cells of the same runs.

The parts follow from the cells of all planned runs alone, not from what the store holds: processes that start at
different times, on different machines, agree on them without talking. Each then measures what is missing of its part.
"""

import heapq
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ssmax_eval.errors import UserError, shown
from ssmax_eval.measurement import Cell
from ssmax_eval.run.identity import Run

MOST = 100_000
"""Shards that there may be."""
SLURM = "SLURM_ARRAY_TASK_"
WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Shard:
    """One of several processes that share the cells of a command."""

    number: int
    """Which one, from 1."""
    count: int
    """How many there are."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MOST:
            raise UserError(
                f"shards are 1/N to N/N, with N at most {MOST:,}; given {self}"
                + (f": the first is 1/{self.count}" if self.number == 0 and self.count else "")
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def part(self) -> str:
        """What its files in the store are called: "03-of-16"."""
        return f"{self.number:0{len(str(self.count))}}-of-{self.count}"


def parse(given: str, environment: Mapping[str, str] = os.environ, *, torchrun: bool = True) -> Shard:
    """Return the shard that is written "3/16"; "auto" is the one that Slurm or torchrun has numbered.

    `torchrun` says whether its processes are shards, and do not hold one model together. UserError for anything else,
    and where the environment does not say which one it is.
    """
    if given == "auto":
        return _numbered(environment, torchrun)
    if not (found := WRITTEN.fullmatch(given)):
        raise UserError(f"a shard is written 3/16, the third of sixteen, or auto; given {shown(given)}")
    return Shard(int(found[1]), int(found[2]))


def _numbered(environment: Mapping[str, str], torchrun: bool) -> Shard:
    """The place of this process in Slurm's array of jobs, or else among the processes that torchrun has started."""
    if f"{SLURM}ID" in environment:
        own, first, last, count = (_whole(environment, SLURM + name) for name in ("ID", "MIN", "MAX", "COUNT"))
        step = _whole(environment, f"{SLURM}STEP") if f"{SLURM}STEP" in environment else 1
        if step < 1 or (last - first) // step + 1 != count or (own - first) % step:
            raise UserError(
                f"--shard auto needs a Slurm array of even steps, such as --array=1-16; this one has {count} tasks "
                f"from {first} to {last} in steps of {step}: give --shard K/N"
            )
        return Shard((own - first) // step + 1, count)
    if torchrun and "RANK" in environment and "WORLD_SIZE" in environment:
        return Shard(_whole(environment, "RANK") + 1, _whole(environment, "WORLD_SIZE"))
    if not torchrun:
        raise UserError(f"--shard auto finds no Slurm array ({SLURM}ID); torchrun's processes hold one model together")
    raise UserError(
        f"--shard auto finds neither a Slurm array ({SLURM}ID) nor torchrun (RANK, WORLD_SIZE) in the environment; "
        "give --shard K/N, such as 3/16"
    )


def _whole(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(f"--shard auto needs a whole number in {name}; it is {shown(text)}")
    return int(text)


class Piece(NamedTuple):
    """Cells of a run that one process measures."""

    cost: int
    run: str
    """Name of the run."""
    cells: list[Cell]


def part(grid: Mapping[Run, Sequence[Cell]], shard: Shard, work: Callable[[int], int]) -> dict[Run, list[Cell]]:
    """Return the cells of each run that a shard is to measure, in the order of `grid`, which has all cells.

    `work` is what a cell of a context length costs, in any one unit. Whatever costs most goes first, to the shard with
    the least to do so far: so all shards have about the same work, and the costly cells are spread evenly.
    """
    loads = [(0, number) for number in range(1, shard.count + 1)]
    mine: dict[str, set[Cell]] = {}
    for piece in sorted(pieces(grid, shard.count, work), key=lambda one: (-one.cost, one.run, _key(one.cells[0]))):
        load, number = loads[0]
        heapq.heapreplace(loads, (load + piece.cost, number))
        if number == shard.number:
            mine.setdefault(piece.run, set()).update(piece.cells)
    return {run: [cell for cell in cells if cell in mine.get(run.name, ())] for run, cells in grid.items()}


def pieces(grid: Mapping[Run, Sequence[Cell]], count: int, work: Callable[[int], int]) -> Iterator[Piece]:
    """Yield all cells of `grid`, each once: those together whose contexts begin alike.

    Only where they cost as much as several even shares of the whole, they are cut into so many pieces: the other
    shards would wait for them.
    """
    groups = list(_groups(grid, work))
    total = sum(group.cost for group in groups)
    for cost, run, cells in groups:
        several = min(max(1, cost * count // max(total, 1)), len(cells))
        for i in range(several):
            piece = cells[i * len(cells) // several : (i + 1) * len(cells) // several]
            yield Piece(sum(work(cell.context_length) for cell in piece), run, piece)


def _groups(grid: Mapping[Run, Sequence[Cell]], work: Callable[[int], int]) -> Iterator[Piece]:
    """The cells whose contexts begin alike; tasks that differ in their cells alone are one run."""
    tasks = {run.name: run.task for run in grid}
    for name, task in tasks.items():
        cells = dict.fromkeys(cell for run, some in grid.items() if run.name == name for cell in some)
        for group in task.together(list(cells)):
            yield Piece(sum(work(cell.context_length) for cell in group), name, sorted(group, key=_key))


def _key(cell: Cell) -> str:
    return json.dumps(cell.coordinates())
