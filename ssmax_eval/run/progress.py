"""How far a command is: a bar in a terminal and in a notebook, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType

from tqdm.auto import tqdm

from ssmax_eval.measurement import Cell

EVERY = 30.0
"""Seconds after which another line is due."""
STEP = 0.1
"""Share of the work after which another line is due."""
TINY = 1e-9
"""Makes up for rounding: three times 0.1 is a little more than 0.3."""


def duration(seconds: float) -> str:
    """Return a rough time in words: `40 s`, `12 min`, `3.5 h`."""
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 1.5 else f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


class Progress:
    """The share of the work that is done, over all runs of a command; used as a context.

    `work` is what a cell of each context length costs, in any one unit; `say` takes the lines.
    """

    def __init__(
        self,
        todo: Sequence[Sequence[Cell]],
        work: Mapping[int, float],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.work, self.say, self.clock = work, say, clock
        self.cells = sum(map(len, todo))
        self.total = sum(work[cell.context_length] for cells in todo for cell in cells)
        self.cells_done, self.done = 0, 0.0
        self.title = ""
        self.started = self.said_at = clock()
        self.said = 0.0
        self.bar = None if not _watched() else tqdm(
            total=self.total, leave=False, bar_format="{desc} {percentage:3.0f} % |{bar}| {elapsed} < {remaining}"
        )  # fmt: skip

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def begin(self, title: str) -> None:
        """Say which run comes now."""
        self.title = title
        if self.bar is not None:
            self.bar.set_description_str(title)

    def write(self, line: str) -> None:
        """Say a line, above the bar where there is one."""
        if self.bar is not None:
            self.bar.clear()
        self.say(line)
        if self.bar is not None:
            self.bar.refresh()

    def finished(self, cells: Sequence[Cell]) -> None:
        """Count cells as finished, and say so where that is due."""
        work = sum(self.work[cell.context_length] for cell in cells)
        self.cells_done += len(cells)
        self.done += work
        if self.bar is not None:
            self.bar.update(work)
            return
        now, share = self.clock(), self.done / self.total
        stepped = int(share / STEP + TINY) > int(self.said / STEP + TINY)
        if self.cells_done < self.cells and (stepped or now - self.said_at >= EVERY):
            self.said, self.said_at = share, now
            self.say(self._line(share, now - self.started))

    def _line(self, share: float, elapsed: float) -> str:
        left = elapsed * (1 - share) / share
        end = datetime.now() + timedelta(seconds=left)
        when = f"{end:%H:%M}" if left < 12 * 3600 else f"{end:%A %H:%M}"
        cells = f"{self.cells_done} of {self.cells} cells"
        return f"{share:.0%} done ({cells}), now {self.title}; {duration(left)} to go, until about {when}"


def _watched() -> bool:
    """Whether a bar can be seen: in a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules
