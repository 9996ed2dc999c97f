"""A damaged line costs its cell and is named; nothing else is lost, and nothing wrong is read."""

import json
import random
from pathlib import Path

import pytest

from ssmax_eval import read_results
from ssmax_eval.measurement import Measurement
from ssmax_eval.store import CELLS_FILE, SESSIONS_FILE, Store, read_runs
from tests.store.test_store import CELLS, RUN, filled, found

GOOD = {"cell": {"context_length": 8, "document": 1}, "seconds": 1.0, "values": {}, "rows": {}}


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"3",
        b"",
        b"\xff\xfe\xfd",
        b"[" * 100_000,
        json.dumps({**GOOD, "cell": [8, 1]}).encode(),
        json.dumps({**GOOD, "cell": {"context_length": "8"}}).encode(),
        json.dumps({**GOOD, "cell": {"context_length": 8.5}}).encode(),
        json.dumps({**GOOD, "cell": {"context_length": True}}).encode(),
        json.dumps({**GOOD, "cell": {"document": 1}}).encode(),
        json.dumps({**GOOD, "cell": {"context_length": 8, "depth": "deep"}}).encode(),
        json.dumps({**GOOD, "cell": {"context_length": 8, "colour": [1]}}).encode(),
        json.dumps({**GOOD, "values": [1]}).encode(),
        json.dumps({**GOOD, "values": {"score": [1]}}).encode(),
        json.dumps({**GOOD, "values": {"score": float("nan")}}).encode(),
        json.dumps({**GOOD, "rows": {"nll": 3}}).encode(),
        json.dumps({**GOOD, "rows": {"nll": [[1]]}}).encode(),
        json.dumps({**GOOD, "rows": {"nll": {"from": 1}}}).encode(),
        json.dumps({**GOOD, "rows": {"nll": [1.0], "position": [1, 2]}}).encode(),
        json.dumps({**GOOD, "seconds": "1"}).encode(),
        json.dumps({**GOOD, "error": 3}).encode(),
        json.dumps({**GOOD, "new": 3}).encode(),
        b'{"cell":{"context_length":8,"document":1},"seconds":1.0,"values":{"score":1e999}}',
    ],
)
def test_a_record_of_another_shape_costs_its_cell_alone(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    store = filled(tmp_path)
    path = tmp_path / "run" / CELLS_FILE
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], line, lines[2], b""]))
    assert store.cells("run") == {cell: found(cell) for cell in CELLS[::2]}
    assert f"{path}, line 2 is damaged" in caplog.text
    assert len(read_results(tmp_path)) == 4
    with store.writer("run", RUN, {}) as writer:
        writer.append(found(CELLS[1]))
    assert store.cells("run") == {cell: found(cell) for cell in CELLS}


def test_a_flipped_bit_never_changes_a_number(tmp_path: Path) -> None:
    store = filled(tmp_path)
    path = tmp_path / "run" / CELLS_FILE
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        cells = store.cells("run")
        assert all(cells[cell] == found(cell) for cell in cells)
        assert 1 <= len(cells) <= 2


def test_lines_of_before_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    store = filled(tmp_path)
    (tmp_path / "run" / CELLS_FILE).write_text(found(CELLS[2]).to_json() + "\n")
    assert store.cells("run") == {CELLS[2]: found(CELLS[2])}


def test_a_text_that_looks_like_a_checksum_is_read_back(tmp_path: Path) -> None:
    store = filled(tmp_path)
    odd = Measurement(CELLS[0], {"answer": ',"crc":"00000000"}', "crc": "12345678"})
    with store.writer("run", RUN, {}) as writer:
        writer.append(odd)
    assert store.cells("run")[CELLS[0]] == odd


def test_a_damaged_line_of_the_sessions_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = filled(tmp_path)
    path = tmp_path / "run" / SESSIONS_FILE
    path.write_bytes(b"[]\n\xff\n" + path.read_bytes() + b'{"half')
    with store.writer("run", RUN, {"command": "again"}) as writer:
        writer.record({"kind": "out_of_memory", "lengths": {"8": {"batch_size": 1}}})
    assert read_runs(tmp_path)["run"]["sessions"] == [
        {"kind": "session", "command": "test"},
        {"kind": "session", "command": "again"},
        {"kind": "out_of_memory", "lengths": {"8": {"batch_size": 1}}},
    ]
    assert "sessions.jsonl, line 1 is damaged" in caplog.text
    assert "sessions.jsonl, line 2 is damaged" in caplog.text


def test_a_flipped_bit_never_changes_a_session(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path)
    path = tmp_path / "run" / SESSIONS_FILE
    whole, draw = path.read_bytes(), random.Random(1)
    for _ in range(200):
        caplog.clear()
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged) - 1)] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        for session in read_runs(tmp_path)["run"]["sessions"]:  # the name of the checksum was damaged, and no more
            assert session.items() >= {"kind": "session", "command": "test"}.items()
            break
        else:
            assert "is damaged and left out" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        {"values": {"score": "abc"}},
        {"values": {"checkpoint": "other"}},
        {"values": {"score": 10**400}},
        {"rows": {"position": {"from": 0, "to": 10**12}}},
        {"rows": {"position": ["x"]}},
        {"seconds": 10**400},
        {"cell": {"context_length": 0}},
        {"cell": {"context_length": 8, "document": 1, "task": "other"}},
    ],
)
def test_a_record_that_cannot_stand_in_a_frame_costs_its_cell_alone(
    tmp_path: Path, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    quantities = [{"name": "score", "title": "score"}]
    with Store(tmp_path).writer("run", {**RUN, "quantities": quantities}, {}) as writer:
        for cell in CELLS:
            writer.append(found(cell))
    path = tmp_path / "run" / CELLS_FILE
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], json.dumps({**GOOD, **change}).encode(), lines[2], b""]))
    assert len(read_results(tmp_path)) == 4
    assert "is left out" in caplog.text or "line 2 is damaged" in caplog.text
