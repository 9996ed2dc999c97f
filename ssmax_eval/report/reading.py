"""Results for a report: a frame as it is, or what the store holds at some paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ssmax_eval.store import read_results, read_runs

Path = str | os.PathLike[str]
Results = pd.DataFrame | Path | Sequence[Path]
"""A frame of `read_results`, or the paths of runs or folders of runs."""


class Read(NamedTuple):
    """Results, with what is on record for each run."""

    frame: pd.DataFrame
    provenance: Mapping[str, Mapping[str, Any]]


def read(results: Results) -> Read:
    """Return the frame of some results, with the descriptions of its runs where it is read from paths here."""
    if isinstance(results, pd.DataFrame):
        return Read(results, {})
    paths = [results] if isinstance(results, (str, os.PathLike)) else list(results)
    return Read(read_results(*paths), read_runs(*paths))
