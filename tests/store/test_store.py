"""The store: nothing lost, repeated or mixed, whatever kills the process."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssmax_eval import read_results
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.store import CELLS_FILE, Store, read_runs

COLUMNS = {
    "checkpoint": "tiny",
    "attention": "softmax",
    "task": "loss",
    "train_length": 8,
    "dtype": "float32",
    "rope": "",
}
RUN: dict[str, Any] = {"columns": COLUMNS, "identity": {"seed": 0}}
CELLS = [Cell(8, document=i) for i in range(3)]


def found(cell: Cell) -> Measurement:
    rows: dict[str, list[float]] = {"position": [1, 2], "nll": [0.5 + (cell.document or 0), 1.5]}
    return Measurement(cell, {"source": "a"}, rows, seconds=0.25)


def filled(root: Path, cells: list[Cell] = CELLS) -> Store:
    store = Store(root)
    with store.writer("run", RUN, {"command": "test"}) as writer:
        for cell in cells:
            writer.append(found(cell))
    return store


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = filled(tmp_path)
    assert store.cells("run") == {cell: found(cell) for cell in CELLS}
    frame = read_results(tmp_path)
    assert len(frame) == 6
    assert frame.nll.tolist() == [0.5, 1.5, 1.5, 1.5, 2.5, 1.5]
    assert frame.document.tolist() == [0, 0, 1, 1, 2, 2]
    assert set(frame.checkpoint) == {"tiny"}
    assert set(frame.status) == {"ok"}
    assert read_runs(tmp_path)["run"]["sessions"] == [{"kind": "session", "command": "test"}]


def test_tasks_of_different_columns_share_a_frame(tmp_path: Path) -> None:
    store = filled(tmp_path)
    other = {"columns": {**COLUMNS, "task": "niah"}, "identity": {"seed": 1}}
    with store.writer("other", other, {}) as writer:
        writer.append(Measurement(Cell(8, depth=0.5, trial=0), {"score": 1.0}))
        writer.append(Measurement(Cell(8, depth=1.0, trial=0), error="out of memory"))
    frame = read_results(tmp_path)
    niah = frame[frame.task == "niah"]
    assert niah.score.tolist()[0] == 1.0
    assert np.isnan(niah.score.tolist()[1])
    assert niah.status.tolist() == ["ok", "failed"]
    assert niah.error.tolist()[1] == "out of memory"
    assert niah.nll.isna().all()
    assert len(read_results(tmp_path / "other")) == 2


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_cut_off_by_a_kill_costs_that_cell_alone(tmp_path: Path, cut: int) -> None:
    store = filled(tmp_path)
    path = tmp_path / "run" / CELLS_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    assert list(store.cells("run")) == CELLS[:2]
    assert len(read_results(tmp_path)) == 4
    with store.writer("run", RUN, {}) as writer:
        assert list(writer.cells) == CELLS[:2]
        writer.append(found(CELLS[2]))
    assert store.cells("run") == {cell: found(cell) for cell in CELLS}


def test_damage_in_the_middle_costs_that_cell_and_is_said_with_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    path = tmp_path / "run" / CELLS_FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][:20] + "\n" + lines[2])
    assert store.cells("run") == {cell: found(cell) for cell in CELLS[::2]}
    assert "cells.jsonl, line 2 is damaged" in caplog.text
    assert len(read_results(tmp_path)) == 4


def test_the_last_word_on_a_cell_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.writer("run", RUN, {}) as writer:
        writer.append(Measurement(CELLS[0], error="out of memory"))
        writer.append(found(CELLS[0]))
    assert read_results(tmp_path).status.tolist() == ["ok", "ok"]


def test_a_folder_never_holds_two_identities(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with pytest.raises(UserError, match="holds another run"), store.writer("run", {**RUN, "identity": {"seed": 9}}, {}):
        pass
    assert list(store.cells("run")) == CELLS


def _hold(root: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with Store(root).writer("run", RUN, {}) as writer:
        writer.append(found(CELLS[0]))
        ready.set()
        time.sleep(60)


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    try:
        assert ready.wait(60)
        with pytest.raises(UserError, match="another process"), Store(tmp_path).writer("run", RUN, {}):
            pass
    finally:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    with Store(tmp_path).writer("run", RUN, {}) as writer:
        assert list(writer.cells) == CELLS[:1]


def test_no_runs_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs in"):
        read_results(tmp_path)


def test_a_run_that_lies_in_two_places_is_not_counted_twice(tmp_path: Path) -> None:
    for name in "ab":
        filled(tmp_path / name)
    with pytest.raises(UserError, match="are the same run"):
        read_results(tmp_path / "a", tmp_path / "b")
    assert len(read_results(tmp_path / "a", tmp_path / "a" / "run")) == 6


def test_a_broken_description_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json' is not readable"):
        read_results(tmp_path)


def test_nan_is_no_measurement() -> None:
    assert not Measurement(CELLS[0], {"score": float("nan")}).finite()
    assert not Measurement(CELLS[0], {}, {"nll": [1.0, float("inf")]}).finite()
    with pytest.raises(ValueError, match="unequal length"):
        Measurement(CELLS[0], {}, {"a": [1], "b": [1, 2]})


def test_numbers_in_rows_are_stored_to_six_digits() -> None:
    rng = np.random.default_rng(0)
    values = (rng.standard_normal(1000) * 10.0 ** rng.integers(-8, 5, 1000)).astype(np.float32)
    written = Measurement(CELLS[0], {}, {"nll": values.tolist()}).to_json()
    read = np.array(Measurement.from_json(written).rows["nll"], np.float64)
    np.testing.assert_allclose(read, values.astype(np.float64), rtol=5.1e-6)
    assert max(map(len, written.partition("[")[2].split(","))) <= len("-1.23456e-05]}}")


def test_a_column_that_counts_up_is_its_two_ends_on_disk_and_itself_when_read() -> None:
    columns = {"position": range(1, 20001), "step": [3, 4, 5], "other": [3, 4, 6], "flag": [True, False, True]}
    for name, column in columns.items():
        written = Measurement(Cell(20001, document=0), {}, {name: column}).to_json()
        assert ('{"from":' in written) == (name in ("position", "step"))
        assert list(Measurement.from_json(written).rows[name]) == list(column)
    written = json.dumps({"cell": {"context_length": 4}, "seconds": 1.0, "values": {}, "rows": {"position": [1, 2, 3]}})
    assert list(Measurement.from_json(written).rows["position"]) == [1, 2, 3]  # stores of before
