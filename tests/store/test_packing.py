"""A packed run is the run, digit by digit, and goes on."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmax_eval import read_results
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Measurement
from ssmax_eval.store import CELLS_FILE, PACKED_FILE, Store, pack
from ssmax_eval.store.decimals import pack_column, unpack_column
from ssmax_eval.store.packing import packed_records, unpacked_records
from tests.store.test_formats import OLD
from tests.store.test_store import CELLS, RUN, filled, found


def same(a: list[float], b: list[float]) -> bool:
    """Whether these are the same floats, bit by bit."""
    return np.asarray(a).tobytes() == np.asarray(b).tobytes()


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_column_comes_back_bit_by_bit_or_is_not_packed(column: list[float]) -> None:
    packed = pack_column(column)
    assert packed is None or same(unpack_column(packed), column)


@settings(deadline=None)
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1), st.integers(0, 9))
def test_decimals_are_packed(numbers: list[int], digits: int) -> None:
    column = [float(f"{number}e-{digits}") for number in numbers if number]
    packed = pack_column(column)
    assert (packed is None) == (not column)
    assert packed is None or same(unpack_column(packed), column)


def test_what_has_no_decimals_is_left_as_it_is() -> None:
    for column in ([], [-0.0], [1e-30], [1e300], [5e-324]):
        assert pack_column(column) is None
    assert pack_column([0.0, -1.5, 2.0]) is not None


def test_losses_take_the_bits_that_they_hold() -> None:
    """Losses of five decimals, as of a language model: 20 bits each, where JSON and xz take 25."""
    draw = np.random.default_rng(0)
    column = [round(value, 5) for value in draw.exponential(3.0, 20_000).tolist()]
    packed = pack_column(column)
    assert packed is not None
    assert sum(map(len, packed.planes)) * 8 < 20.3 * len(column)


def test_records_of_every_kind_come_back() -> None:
    records = [
        json.loads(one.to_json())
        for one in (
            Measurement(CELLS[0], {"answer": "ä\u2028\n", "n": 3, "x": 0.1}, {"nll": [0.5, 1.25], "kind": ["a", None]}),
            Measurement(CELLS[1], error="out of memory"),
            Measurement(CELLS[2], {}, {"nll": [1, 2], "position": range(1, 3), "mixed": [1, 2.5]}),
            Measurement(CELLS[2], {}, {"nll": [7.25], "position": [1]}),
        )
    ]
    assert [json.dumps(one) for one in unpacked_records(packed_records(records))] == [json.dumps(r) for r in records]
    assert list(unpacked_records(packed_records([]))) == []


def test_a_packed_run_is_read_as_before_and_goes_on(tmp_path: Path) -> None:
    store = filled(tmp_path, CELLS[:2])
    before = read_results(tmp_path)
    path = pack(tmp_path / "run")
    assert path.name == PACKED_FILE
    assert not (tmp_path / "run" / CELLS_FILE).exists()
    assert read_results(tmp_path).equals(before)
    with store.writer("run", RUN, {}) as writer:
        assert list(writer.cells) == CELLS[:2]
        writer.append(found(CELLS[2]))
        writer.append(Measurement(CELLS[0], {"source": "a"}, {"position": [1], "nll": [9.5]}))
    whole = store.cells("run")
    assert list(whole) == CELLS
    assert whole[CELLS[0]].rows["nll"] == [9.5]  # the last word counts
    pack(tmp_path / "run")
    assert store.cells("run") == whole


@pytest.mark.parametrize("name", sorted(path.name for path in OLD.iterdir()))
def test_old_runs_survive_packing_digit_by_digit(tmp_path: Path, name: str) -> None:
    shutil.copytree(OLD / name, tmp_path / name)
    before, frame = Store(tmp_path).cells(name), read_results(tmp_path)
    written = [line for line in (OLD / name / CELLS_FILE).read_text().splitlines(keepends=True) if line.endswith("\n")]
    content = pack(tmp_path / name).read_bytes()
    lines = [json.dumps(one, separators=(",", ":")) + "\n" for one in unpacked_records(content)]
    assert lines == written
    assert Store(tmp_path).cells(name) == before
    assert read_results(tmp_path).equals(frame)


def test_a_run_that_is_being_written_is_not_packed(tmp_path: Path) -> None:
    store = filled(tmp_path)
    with store.writer("run", RUN, {}), pytest.raises(UserError, match="another process"):
        pack(tmp_path / "run")


def test_a_damaged_packed_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    store = filled(tmp_path)
    path = pack(tmp_path / "run")
    whole, draw = path.read_bytes(), random.Random(0)
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cells\.pack"):
            store.cells("run")
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="is damaged"):
        store.cells("run")


def test_the_command_packs_the_runs_it_is_given(tmp_path: Path) -> None:
    store = filled(tmp_path)
    before = store.cells("run")
    command = [sys.executable, "-m", "ssmax_eval.store"]
    done = subprocess.run([*command, "pack", str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("run: ")
    assert store.cells("run") == before
    wrong = subprocess.run(command, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stderr == "Error: usage: python -m ssmax_eval.store pack RESULTS...\n"
