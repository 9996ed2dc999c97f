"""What results carry beside their rows, so that pandas need not copy it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd


class Kept(dict[str, Any]):
    """A mapping that nobody changes, and that a deep copy therefore shares.

    pandas makes a deep copy of the `attrs` of a frame at every step. The identities of a hundred runs took most of the
    time of a comparison.
    """

    def __deepcopy__(self, _: object) -> Kept:
        return self


def keep(frame: pd.DataFrame, **more: Mapping[str, Any]) -> pd.DataFrame:
    """Return the frame with what its `attrs` hold, and `more`, ready to be kept through every step."""
    frame = frame.copy(deep=False)
    held: dict[Hashable, Any] = dict(frame.attrs)
    held.update(more)
    frame.attrs = {name: Kept(value) if isinstance(value, Mapping) else value for name, value in held.items()}
    return frame
