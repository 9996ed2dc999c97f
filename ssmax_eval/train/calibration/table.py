"""The file that a calibration writes: s and b as `--attention ssmax:s=FILE,b=FILE` reads them, and how they were made.

While it is being made there is a second file beside it, with `.unfinished` behind its name: what a killed calibration
goes on from.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ssmax_eval.attention import SSMax
from ssmax_eval.attention.parameters import read_per_head
from ssmax_eval.errors import UserError, shown
from ssmax_eval.files import read_whole, write_whole
from ssmax_eval.train.calibration.factors import Tables

MADE = "made"
"""What a file says of its making, by this name beside `s` and `b`; what was asked for is in it under `asked`."""


@dataclass(frozen=True)
class Place:
    """Where a table is written, and what was asked for."""

    path: Path
    asked: Mapping[str, Any]
    """What decides the numbers, as plain values."""

    @property
    def unfinished(self) -> Path:
        """The file of a calibration that is under way."""
        return self.path.with_name(self.path.name + ".unfinished")

    def read(self) -> SSMax | None:
        """Return the attention of the table that is there; None where there is none yet.

        UserError for a file that is no table of this calibration.
        """
        if not self.path.exists():
            return None
        try:
            content = json.loads(read_whole(self.path, "table"))
            there = content[MADE]["asked"]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{str(self.path)!r} holds something else already; give another --output") from None
        self._refuse_other(there, f"{str(self.path)!r} holds another calibration")
        return SSMax(s=read_per_head("s", self.path), b=read_per_head("b", self.path))

    def write(self, tables: Tables, made: Mapping[str, Any]) -> None:
        """Write the table, and remove what was kept to go on from."""
        content = {MADE: {"asked": self.asked, **made}, **tables._asdict()}
        write_whole(self.path, json.dumps(content, indent=1) + "\n")
        self.unfinished.unlink(missing_ok=True)

    def keep(self, state: Mapping[str, Any]) -> None:
        """Write down what the calibration goes on from after a kill."""
        buffer = io.BytesIO()
        torch.save({"asked": json.dumps(self.asked), **state}, buffer)
        write_whole(self.unfinished, buffer.getvalue())

    def kept(self) -> dict[str, Any] | None:
        """Return what was kept last; None where nothing was. UserError where another calibration is under way."""
        if not self.unfinished.exists():
            return None
        content = io.BytesIO(read_whole(self.unfinished))
        try:
            state: dict[str, Any] = torch.load(content, weights_only=True)
            there = json.loads(state["asked"])
        except Exception as error:  # torch and pickle raise many kinds for a file that is not theirs
            raise UserError(
                f"{str(self.unfinished)!r} cannot be read ({type(error).__name__}); delete it to start anew"
            ) from None
        self._refuse_other(there, f"{str(self.unfinished)!r} is of another calibration")
        return state

    def _refuse_other(self, there: Mapping[str, Any], says: str) -> None:
        here = json.loads(json.dumps(self.asked))
        for name in sorted({*there, *here}):
            if there.get(name) != here.get(name):
                raise UserError(
                    f"{says}: its {name} is {shown(there.get(name))}, not {shown(here.get(name))}; "
                    "delete it or give another --output"
                )
