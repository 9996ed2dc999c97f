"""A folder of runs: `run.json` says what was run, `cells.jsonl` holds one line a finished cell.
Shards of a run have files of their own beside these, `cells.03-of-16.jsonl`, and readers take all of them together.

A line is written whole and synced, so that a run killed at any moment loses at most the cell it was in. A line cut off
by a kill is dropped when the run is next opened for writing, and ignored by readers. `cells.pack` holds the cells of a
finished run in a fraction of the bytes; what is measured later goes to `cells.jsonl` beside it.
"""

from ssmax_eval.store.description import FORMAT, RUN_FILE
from ssmax_eval.store.lines import CELLS_FILE, SESSIONS_FILE
from ssmax_eval.store.packing import PACKED_FILE, pack
from ssmax_eval.store.reading import read_results, read_runs, run_folders
from ssmax_eval.store.writing import Store, Writer

__all__ = [
    "CELLS_FILE",
    "FORMAT",
    "PACKED_FILE",
    "RUN_FILE",
    "SESSIONS_FILE",
    "Store",
    "Writer",
    "pack",
    "read_results",
    "read_runs",
    "run_folders",
]
