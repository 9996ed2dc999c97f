"""The committed runs: each is of today's format, packed, and named by the hash of its identity."""

from pathlib import Path

import pytest

from ssmax_eval.run.identity import folder_name
from ssmax_eval.store import PACKED_FILE, RUN_FILE, SESSIONS_FILE, Store, read_runs

RESULTS = Path(__file__).parents[1] / "results"
RUNS = [
    (store, name)
    for store in ("reference", "ruler_reference", "smollm2", "smollm2_ruler")
    for name in read_runs(RESULTS / store)
]


def test_all_runs_are_there() -> None:
    assert len(RUNS) == 128 + 12 + 22


@pytest.mark.parametrize(("store", "name"), RUNS, ids=lambda part: str(part))
def test_a_run_is_named_by_what_it_is(store: str, name: str) -> None:
    run = read_runs(RESULTS / store / name)[name]
    assert run["format"] == 1
    assert name == folder_name(run)
    assert {path.name for path in (RESULTS / store / name).iterdir()} - {".lock"} == {
        PACKED_FILE,
        RUN_FILE,
        SESSIONS_FILE,
    }
    assert all(entry["kind"] == "session" for entry in run["sessions"])
    cells = Store(RESULTS / store).cells(name)
    assert cells
    assert all(one.error is None and one.finite() for one in cells.values())
