"""Two workers of a real Ray cluster on this machine, three of whose lives one cell ends."""

from pathlib import Path

import pytest

from ssmax_eval.measurement import Cell
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.plan import execute
from ssmax_eval.run.workers import Ray
from ssmax_eval.store import read_runs
from tests.run.poison import own_task, same, values

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves its log files open
GUILTY = Cell(64, document=1)


@pytest.mark.slow
def test_a_cell_that_kills_its_workers_is_named_and_all_else_is_measured(
    tiny_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSMAX_EVAL_CACHE", str(tmp_path / "cache"))
    task, attentions = own_task(tmp_path / "code", 0.0), ["softmax", "ssmax"]
    grid = {"lengths": [32, 64], "documents": 4}
    own = {**grid, "guilty": GUILTY.document, "threads": 1}
    plan = prepare(str(tiny_folder), attentions, task, tmp_path / "runs", settings=own)
    alone = prepare(str(tiny_folder), attentions, "loss", tmp_path / "alone", settings=grid)
    said: list[str] = []
    execute(plan, ray=Ray(workers=2), batch_size=2, say=said.append, progress=False)
    execute(alone, batch_size=2, progress=False)
    found, expected = values(plan), values(alone)
    assert len(found) == len(expected) == 16
    assert "3 workers died" in str(found.pop(("SSMax", GUILTY)).error)
    del expected["SSMax", GUILTY]
    assert all(same(found[cell], expected[cell]) for cell in expected)
    assert sum("context_length=64,document=1 is given up" in line for line in said) == 1
    assert sum("; it is started again" in line for line in said) == 3
    for record in read_runs(tmp_path / "runs").values():
        assert record["sessions"][0]["workers"] == 2
        assert record["sessions"][0]["given"]["task"] == task
    assert capfd.readouterr().out == ""
    assert not ray.is_initialized()
