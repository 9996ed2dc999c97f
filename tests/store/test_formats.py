"""Runs of other formats: older ones are read as today's, newer ones are refused in one line."""

import json
from pathlib import Path

import pytest

from ssmax_eval import read_results
from ssmax_eval.checkpoint.rope import label
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.store import Store, pack, read_runs
from ssmax_eval.store.upgrade import QUANTITIES
from ssmax_eval.tasks import TASKS
from tests.store.test_store import CELLS, RUN, filled, found

OLD = Path(__file__).parents[1] / "data/format0"
"""Two runs written before there were formats, cut short: six needles, three documents of 128 tokens."""
LOSS, NIAH = "softmax-seed0_softmax_loss_61012abedc", "ssmax-seed0_ssmax-s=-2x4-ead6b8_niah_f51afe272b"


def test_old_runs_are_read_with_their_numbers() -> None:
    frame = read_results(OLD)
    niah, loss = frame[frame.task == "niah"], frame[frame.task == "loss"]
    assert niah.score.tolist() == [1.0] * 6
    assert niah.logprob.tolist() == [-0.209967, -0.121415, -2.589173, -1.702146, -0.841539, -1.204019]
    assert niah.depth.tolist() == [0.0, 0.0, 0.0, 0.1, 0.1, 0.1]
    assert set(niah.rope) == {label(50.0, None)}
    assert len(loss) == 3 * 127  # the fourth document's line is half a line
    assert loss.position.tolist() == [*range(1, 128)] * 3
    assert loss.nll.tolist()[:3] == [7.60792, 5.43795, 6.12955]
    assert loss.nll.sum() == pytest.approx(1195.69458, abs=1e-9)
    assert set(loss.rope) == {label(1.0, None)}


def test_old_runs_say_what_they_measured_and_of_what_kind_their_lines_are() -> None:
    runs = read_runs(OLD)
    assert [one["name"] for one in runs[NIAH]["quantities"]] == ["score", "leading_digits", "logprob"]
    assert [entry["kind"] for entry in runs[NIAH]["sessions"]] == ["session", "out_of_memory"]
    assert [entry["kind"] for entry in runs[LOSS]["sessions"]] == ["session"]
    assert {task: len(found) for task, found in read_results(OLD).attrs["quantities"].items()} == {"loss": 1, "niah": 3}


def test_old_runs_have_the_quantities_that_their_tasks_declare() -> None:
    """Write quantities.json again when a task declares something else."""
    known = json.loads(QUANTITIES.read_text(encoding="utf-8"))
    assert known == {task: [one.to_json() for one in TASKS[task].quantities] for task in known}
    assert set(known) == {"niah", "niah_dense", "loss", "key_attention"}


def test_a_description_says_its_format_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_text())
    assert run["format"] == 1
    path.write_text(json.dumps({**run, "format": 2}))
    for read in (lambda: read_results(tmp_path), lambda: read_runs(tmp_path), lambda: filled(tmp_path)):
        with pytest.raises(UserError, match=r"newer ssmax-eval \(format 2; this one reads up to 1\); upgrade it"):
            read()


def test_a_newer_packed_file_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    path = pack(tmp_path / "run")
    path.write_bytes(path.read_bytes().replace(b"cells 1 ", b"cells 2 "))
    with pytest.raises(UserError, match=r"newer ssmax-eval \(format 2; this one reads up to 1\); upgrade it"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"3",
        b"{",
        b'{"columns": {}}',
        b'{"columns": [], "identity": {}}',
        b'{"columns": {"task": []}, "identity": {}}',
        b'{"columns": {"task": "loss", "rope": {}}, "identity": {}}',
        b'{"columns": {"task": "loss"}, "identity": 3}',
        b'{"columns": {"task": "loss"}, "identity": {}, "quantities": [3]}',
        b'{"format": "new", "columns": {"task": "loss"}, "identity": {}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_description_of_another_shape_is_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    filled(tmp_path)
    (tmp_path / "run" / "run.json").write_bytes(content)
    for read in (read_results, read_runs):
        with pytest.raises(UserError, match=r"run\.json"):
            read(tmp_path)


def test_a_description_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "run" / "run.json").unlink()
    (tmp_path / "run" / "run.json").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*run\.json.*Is a directory"):
        read_results(tmp_path)
    with pytest.raises(UserError, match=r"cannot read .*run\.json"):
        filled(tmp_path)


def test_a_lost_or_empty_description_is_written_again_by_the_run_itself(tmp_path: Path) -> None:
    store = filled(tmp_path)
    path = tmp_path / "run" / "run.json"
    for lose in (path.unlink, lambda: path.write_text("")):
        whole = path.read_text()
        lose()
        with Store(tmp_path).writer("run", RUN, {}):
            pass
        assert path.read_text() == whole
    assert list(store.cells("run")) == [Cell(8, document=i) for i in range(3)]


def test_a_description_comes_back_as_it_was_given_and_has_a_line_an_entry(tmp_path: Path) -> None:
    run = {
        "columns": {**RUN["columns"], "odd": 'a\n"é'},
        "quantities": [{"name": "nll"}],
        "identity": {"s": [[1.5], []]},
    }
    with Store(tmp_path).writer("run", run, {}):
        pass
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {"format": 1, **run}
    assert read_runs(tmp_path)["run"] == {"format": 1, **run, "sessions": [{"kind": "session"}]}
    assert '  "s": [[1.5], []]\n' in (tmp_path / "run" / "run.json").read_text()


def test_cells_without_a_description_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = filled(tmp_path)
    with store.writer("other", {**RUN, "identity": {"seed": 1}}, {}) as writer:
        writer.append(found(CELLS[0]))
    (tmp_path / "run" / "run.json").unlink()
    assert set(read_results(tmp_path).run) == {"other"}
    assert f"{tmp_path / 'run'} is left out: it holds cells and no run.json" in caplog.text
