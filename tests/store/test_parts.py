"""Parts of a run: several processes write it, and readers see one run."""

import json
from pathlib import Path

import pytest

from ssmax_eval import read_results
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Measurement
from ssmax_eval.store import CELLS_FILE, PACKED_FILE, RUN_FILE, SESSIONS_FILE, Store, pack, read_runs
from ssmax_eval.store.parts import named, parts_with
from tests.store.test_store import CELLS, RUN, found

FAILED = Measurement(CELLS[1], error="out of memory")


def written(root: Path, part: str, *measurements: Measurement, started: str = "2026-01-01T00:00:00Z") -> None:
    with Store(root, part).writer("run", RUN, {"started": started, "part": part}) as writer:
        for one in measurements:
            writer.append(one)


def again(measurement: Measurement) -> Measurement:
    return Measurement(measurement.cell, {"source": "again"}, measurement.rows, seconds=measurement.seconds)


def test_readers_see_one_run_and_each_cell_once(tmp_path: Path) -> None:
    first, second, third = map(found, CELLS)
    written(tmp_path, "2-of-2", third, second, started="2026-01-03T00:00:00Z")
    written(tmp_path, "", first, FAILED, started="2026-01-02T00:00:00Z")
    written(tmp_path, "1-of-3", again(third), FAILED)
    expected = {first.cell: first, second.cell: second, third.cell: third}  # finished before failed; then the last name
    assert Store(tmp_path).cells("run") == Store(tmp_path, "1-of-3").cells("run") == expected
    frame = read_results(tmp_path)
    assert (len(frame), set(frame["status"])) == (6, {"ok"})
    assert [one["part"] for one in read_runs(tmp_path)["run"]["sessions"]] == ["1-of-3", "", "2-of-2"]  # by time

    folder = tmp_path / "run"
    with (folder / named(CELLS_FILE, "1-of-3")).open("a") as file:
        file.write('{"cell":')  # as a kill leaves it
    assert Store(tmp_path).cells("run") == expected
    pack(folder)
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".lock")} == {
        PACKED_FILE, RUN_FILE, SESSIONS_FILE,
    }  # fmt: skip
    assert Store(tmp_path).cells("run") == expected
    assert [one["part"] for one in read_runs(tmp_path)["run"]["sessions"]] == ["1-of-3", "", "2-of-2"]


def test_a_part_is_locked_by_itself(tmp_path: Path) -> None:
    store = Store(tmp_path, "1-of-2")
    with store.writer("run", RUN, {}) as writer, Store(tmp_path).writer("run", RUN, {}) as whole:
        with Store(tmp_path, "2-of-2").writer("run", RUN, {}) as other:
            other.append(found(CELLS[0]))
        writer.append(found(CELLS[1]))
        whole.append(found(CELLS[2]))
        with pytest.raises(UserError, match="shard 1-of-2 of run 'run' is being written by another process"):
            written(tmp_path, "1-of-2")
    with store.writer("run", RUN, {}), pytest.raises(UserError, match="shard 1-of-2 of run 'run' is being written"):
        pack(tmp_path / "run")
    assert set(Store(tmp_path).cells("run")) == set(CELLS)


def test_a_damaged_line_of_a_part_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, "1-of-2", *map(found, CELLS))
    path = tmp_path / "run" / named(CELLS_FILE, "1-of-2")
    path.write_text(path.read_text().replace("0.25", "0.26", 1))
    assert set(Store(tmp_path).cells("run")) == set(CELLS[1:])
    assert "cells.1-of-2.jsonl, line 1 is damaged" in caplog.text
    (tmp_path / "run" / RUN_FILE).unlink()
    with pytest.raises(UserError, match="no runs"):
        read_results(tmp_path)
    assert "is left out: it holds cells and no run.json" in caplog.text


def test_other_files_are_no_parts(tmp_path: Path) -> None:
    for name in ("cells.jsonl", "cells.2-of-4.jsonl", "cells.03-of-16.jsonl", "cells.jsonl.bak", "cells.old.jsonl"):
        (tmp_path / name).write_text(json.dumps({}))
    assert parts_with(tmp_path, CELLS_FILE) == ["", "03-of-16", "2-of-4"]
    assert parts_with(tmp_path / "nowhere", CELLS_FILE) == []
    assert [named(name, "1-of-2") for name in (".lock", "attempt.json")] == [".lock.1-of-2", "attempt.1-of-2.json"]
