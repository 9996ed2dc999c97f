"""A task of the user's own, outside the package, from the command line to a look into a cell."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssmax_eval import read_results
from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.tasks import load
from tests.run.own import write_task


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def test_a_task_of_ones_own_is_run_reported_compared_and_shown(tiny_folder: Path, tmp_path: Path) -> None:
    own, runs = write_task(tmp_path / "mine"), tmp_path / "runs"
    command = ["run", tiny_folder, "--task", f"{own}:CopyingText", "--lengths", "32,64", "--attention", "softmax"]
    command += ["--attention", "ssmax:s=0.3", "-o", runs]
    first = call(*command)
    assert first.exit_code == 0, first.output
    assert "Stored in:" in first.stderr
    assert f"ssmax-eval report {runs}" in first.stderr
    assert "Everything is in the store already" in call(*command).stderr
    frame = read_results(runs)
    assert set(frame.task) == {"copying_text"}
    assert set(zip(frame.context_length, frame.trial, frame.gap, strict=True)) == {
        (length, trial, gap) for length in (32, 64) for trial in (0, 1) for gap in (0, 8)
    }
    (folder,) = runs.glob("tiny-llama_ssmax-s-0.3_copying_text_*")
    (gain,) = read_results(folder).query("context_length == 64 and trial == 1 and gap == 8").gain.unique()
    shown = call("show", folder, "--cell", "context_length=64,trial=1,gap=8")
    assert shown.exit_code == 0, shown.output
    assert f"{gain}" in shown.stdout
    assert "more rows" in shown.stdout
    assert "has no prompt" in call("reconstruct", folder, "--cell", "context_length=64,trial=1,gap=8").stderr
    compared = call("compare", runs, "--baseline", "softmax")
    assert compared.exit_code == 0, compared.output
    assert "loss saved by copying" in compared.stdout.lower()
    report = call("report", runs, "-o", tmp_path / "report")
    assert report.exit_code == 0, report.output
    assert list((tmp_path / "report").rglob("*.png"))
    moved = own.rename(tmp_path / "mine" / "moved.py")
    where = ["--cell", "context_length=64,trial=1,gap=8"]
    assert "cannot read" in call("show", folder, *where).stderr
    assert call("show", folder, *where, "--task", f"{moved}:CopyingText").stdout == shown.stdout
    moved.write_text(moved.read_text() + "# other\n")
    assert "is not the one that was measured" in call("show", folder, *where, "--task", f"{moved}:CopyingText").stderr


def test_a_yaml_names_a_class_beside_it(tmp_path: Path) -> None:
    write_task(tmp_path / "mine")
    yaml = tmp_path / "mine" / "copying.yaml"
    yaml.write_text("task: my_task.py:CopyingText\nlengths: [32]\ngaps: [4]\nscale: 2\n")
    task = load(str(yaml))
    assert task.kind == "copying_text"
    assert [cell.coordinates() for cell in task.cells()] == [
        {"context_length": 32, "trial": trial, "gap": 4} for trial in (0, 1)
    ]
    assert task.settings()["scale"] == 2.0


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("absent.py:Mine", "", "cannot read .*absent.py"),
        ("my.py:Mine", "x = 1", "'Mine' in .* must be a subclass of ssmax_eval.tasks.base.Task"),
        ("my.py:Mine", "\n1 / 0\n", "my.py, line 2: ZeroDivisionError"),
        ("my.py:Mine", "import nothing_such", "No module named 'nothing_such'"),
        ("my.py:Mine", "def (", "invalid syntax"),
        ("my.py:Mine", "from ssmax_eval.tasks import Task\nclass Mine(Task): pass", "must define bind and cells"),
    ],
)
def test_mistakes_in_a_task_of_ones_own_are_named(tmp_path: Path, place: str, content: str, message: str) -> None:
    (tmp_path / "my.py").write_text(content)
    with pytest.raises(UserError, match=message):
        load(f"{tmp_path}/{place}", {"lengths": [32]})


def test_a_class_without_lengths_needs_them(tmp_path: Path) -> None:
    place = f"{write_task(tmp_path)}:CopyingText"
    with pytest.raises(UserError, match=r"lacks 'lengths'; give it there, or with --set lengths=VALUE"):
        load(place)
    assert load(place, {"lengths": [16]}).lengths == (16,)


def test_a_cell_with_coordinates_of_its_own_is_stored_and_found_again() -> None:
    cell = Cell.of(512, trial=0, hops=2, by="name")
    assert cell == Cell.of(512, by="name", hops=2, trial=0)
    assert len({cell, Cell.of(512, trial=0, hops=3, by="name"), Cell(512, trial=0)}) == 3
    line = Measurement(cell, {"score": 1.0}).to_json()
    assert '"cell":{"context_length":512,"trial":0,"by":"name","hops":2}' in line
    assert Measurement.from_json(line).cell == cell
    assert Cell.of(512, depth=0.5, trial=1) == Cell(512, depth=0.5, trial=1)
