"""What the driver decides without a cluster: which batch comes next, how many workers, and what reaches them."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.attention import parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.identity import Run
from ssmax_eval.run.workers import Ray, cluster
from ssmax_eval.run.workers.crew import Crew, crew
from ssmax_eval.run.workers.own_code import OwnCode, pack
from ssmax_eval.run.workers.worker import Job, Worker, identity, versions
from ssmax_eval.run.workers.worklist import Batch, WorkList
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import Niah
from tests.cli.typed import call
from tests.run.own import write_task

NODE = {"CPU": 8.0, "memory": 1e12}


@pytest.fixture
def checkpoint(tiny_folder: Path) -> Checkpoint:
    return Checkpoint(str(tiny_folder))


def listed(checkpoint: Checkpoint, *attentions: str, task: Any = None) -> WorkList:
    task = task or Loss(lengths=(32, 64), documents=2)
    runs = [Run(checkpoint, parse(given).resolve(checkpoint.shape), task) for given in attentions]
    return WorkList(runs, {run: run.task.cells() for run in runs}, {32: 2, 64: 2}, lambda length: length**2)


def taken(batch: Batch | None) -> tuple[int, int, int]:
    """The run, the length and the number of cells of a batch."""
    assert batch is not None
    return batch.run, batch.cells[0].context_length, len(batch.cells)


def test_the_longest_come_first_and_few_workers_change_their_attention(checkpoint: Checkpoint) -> None:
    work = listed(checkpoint, "softmax", "ssmax")
    softmax, ssmax = (run.under for run in work.runs)
    assert taken(work.take(None)) == (0, 64, 2)
    assert taken(work.take(None, [softmax])) == (1, 64, 2)
    assert taken(work.take(ssmax, [softmax])) == (1, 32, 2)
    assert taken(work.take(ssmax, [softmax])) == (0, 32, 2)
    assert work.take(softmax) is None


def test_what_shares_a_prefix_is_measured_together_as_in_one_process(checkpoint: Checkpoint) -> None:
    task = Niah(lengths=(32, 64), depths=(0.0, 0.5, 1.0), trials=3)
    work = listed(checkpoint, "softmax", task=task)
    while batch := work.take(None):
        (again,) = task.batches(batch.cells, batch.size)
        grid = [cell for cell in task.cells() if cell.context_length == batch.cells[0].context_length]
        assert again in list(task.batches(grid, batch.size))


def test_cells_of_a_death_come_back_one_by_one_and_the_third_is_the_last(checkpoint: Checkpoint) -> None:
    work = listed(checkpoint, "softmax")
    batch = work.take(None)
    assert batch is not None
    guilty, innocent = batch.cells
    assert work.died(batch, [guilty, innocent]) == []
    again = [work.take(None) for _ in range(3)]
    assert [taken(one) for one in again] == [(0, 64, 1), (0, 64, 1), (0, 32, 2)] or taken(again[0]) == (0, 64, 1)
    second = next(one for one in again if one is not None and one.cells == (guilty,))
    assert not second.careful
    assert work.died(second, [guilty]) == []
    third = work.take(None)
    assert third is not None
    assert third.cells == (guilty,)
    assert third.careful
    assert work.died(third, [guilty]) == [guilty]
    assert work.take(None) is None


@pytest.mark.parametrize(
    ("asked", "nodes", "expected"),
    [
        (Ray(), [NODE, NODE], Crew(4, 4, 0, 4, 0.5)),
        (Ray(), [{**NODE, "memory": 1.0}], Crew(1, 4, 0, 4, 1.0)),
        (Ray(workers=2), [{"CPU": 2.0}], Crew(2, 1, 0, 1, 0.5)),
        (Ray(workers=3), [{"CPU": 3.0}, {"CPU": 3.0}], Crew(3, 1, 0, 1, 1 / 3)),
        (Ray(workers=5), [{"CPU": 2.0}], Crew(5, 0, 0, 1, 0.2)),
        (Ray(), [{"CPU": 16.0, "GPU": 4.0}, {"CPU": 16.0, "GPU": 4.0}], Crew(8, 0, 1, 4, 1.0)),
        (Ray(gpus_per_worker=0.25, workers=6), [{"CPU": 12.0, "GPU": 2.0}], Crew(6, 0, 0.25, 2, 0.25)),
        (Ray(gpus_per_worker=2), [{"CPU": 6.0, "GPU": 3.0}, {"CPU": 6.0, "GPU": 3.0}], Crew(2, 0, 2, 6, 1.0)),
    ],
)
def test_a_cluster_is_filled(
    checkpoint: Checkpoint, asked: Ray, nodes: list[dict[str, float]], expected: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    given = replace(checkpoint, dtype="float32", device_map="auto" if (asked.gpus_per_worker or 0) > 1 else None)
    assert crew(given, asked, nodes) == expected


@pytest.mark.parametrize(
    ("asked", "changes", "message"),
    [
        (Ray(), {}, "give --dtype bfloat16"),
        (Ray(gpus_per_worker=1), {"device": "cpu"}, "cannot both be"),
        (Ray(gpus_per_worker=2), {}, "needs --device-map auto"),
        (Ray(gpus_per_worker=1.5), {"device_map": "auto"}, "or a whole number"),
        (Ray(workers=5), {"dtype": "float32"}, "room for 4 workers with 1 GPU each; given --workers 5"),
    ],
)
def test_what_a_cluster_cannot_do(checkpoint: Checkpoint, asked: Ray, changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        crew(replace(checkpoint, **changes), asked, [{"CPU": 8.0, "GPU": 4.0}])


def job_of(runs: list[Run], own: OwnCode) -> Job:
    return Job(pickle.dumps(runs), own, "/nowhere", versions(), [identity(run) for run in runs], [64], 1, 1.0)


def test_own_code_reaches_a_worker_that_does_not_have_its_files(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSMAX_EVAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    place = write_task(tmp_path / "code")
    plan = prepare(str(tiny_folder), "ssmax", f"{place}:CopyingText", tmp_path / "runs", lengths=[64])
    (run,) = plan.runs
    job = job_of([replace(run, checkpoint=Checkpoint(str(tiny_folder)))], pack([type(run.task), type(run.attention)]))
    assert {Path(path).name for path in job.own.files} == {"my_task.py", "tokens.py"}
    (tmp_path / "code").rename(tmp_path / "gone")
    for name in [*job.own.modules, "tokens"]:
        del sys.modules[name]
    worker = Worker(job)
    monkeypatch.chdir(tmp_path)
    worker.load()
    assert type(worker.runs[0].task) is not type(run.task)
    session, found = worker.measure(0, run.task.cells()[:1], 1)
    assert isinstance(session, dict)
    assert isinstance(found, Measurement)
    assert found.rows["nll"]


def test_a_worker_that_would_give_other_numbers_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("word " * 500)
    run = Run(checkpoint, parse("softmax").resolve(checkpoint.shape), Loss(lengths=(64,), texts=(str(text),)))
    job = job_of([run], OwnCode({}, {}, []))
    with pytest.raises(UserError, match=r"has .* transformers 0.1; the driver has|the driver has .* transformers 0.1"):
        Worker(job._replace(versions={**versions(), "transformers": "0.1"})).load()
    text.write_text("other " * 500)
    with pytest.raises(UserError, match="has another content on"):
        Worker(job).load()


def test_mistakes_are_one_line(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["run", tiny_folder, "--task", "loss", "--lengths", "32"]
    assert "go with --ray" in call(*command, "--workers", "2").stderr
    pytest.importorskip("ray")
    assert "no Ray cluster answers at '127.0.0.1:1'" in call(*command, "--ray", "127.0.0.1:1").stderr
    swallowed = call("run", "--ray", tiny_folder, tiny_folder, "--task", "loss", "--lengths", "32")
    assert "the address of a Ray cluster is host:port, or auto" in swallowed.stderr
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    refused = call(*command, "--ray")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "pip install 'ssmax-eval[ray]'" in refused.stderr


def test_cells_are_found_again() -> None:
    assert pickle.loads(pickle.dumps(Cell.of(64, trial=0, hops=2))) == Cell.of(64, trial=0, hops=2)
