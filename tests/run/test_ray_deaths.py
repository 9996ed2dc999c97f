"""Kills by the dozen on Ray clusters: of workers, of drivers, of a whole machine. Nothing is lost, nothing changes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.plan import Plan, execute
from ssmax_eval.run.workers import Ray
from tests.cli.typed import call, stored_lines
from tests.run.poison import own_task, same, values

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::ResourceWarning")]
GRID: dict[str, Any] = {"lengths": [32, 64], "documents": 12}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 1 << 27})
    yield made
    made.shutdown()


@pytest.fixture
def plan(tiny_folder: Path, tmp_path: Path) -> Plan:
    task = own_task(tmp_path / "code", 0.3)
    return prepare(str(tiny_folder), ["softmax", "ssmax"], task, tmp_path / "runs", settings=GRID)


def undisturbed(tiny_folder: Path, tmp_path: Path) -> Plan:
    alone = prepare(str(tiny_folder), ["softmax", "ssmax"], "loss", tmp_path / "alone", settings=GRID)
    execute(alone, batch_size=2, progress=False)
    return alone


def equal(found: Plan, expected: Plan) -> bool:
    ours, theirs = values(found), values(expected)
    return len(ours) == 48 and ours.keys() == theirs.keys() and all(same(ours[cell], theirs[cell]) for cell in theirs)


def workers(what: str = "ray::Worker") -> list[psutil.Process]:
    """The workers that live; `ray::Worker.measure` are those that measure."""
    return [p for p in psutil.process_iter(["cmdline"]) if " ".join(p.info["cmdline"] or ()).startswith(what)]


def wait_for(condition: Callable[[], bool], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ten_kills(cluster: Any, plan: Plan, tiny_folder: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_often() -> None:
        for _ in range(10):
            stored = len(stored_lines(tmp_path / "runs"))
            wait_for(lambda before=stored: len(stored_lines(tmp_path / "runs")) > before)  # type: ignore[misc]
            while not (found := workers("ray::Worker.measure")):
                time.sleep(0.02)
            killed.append(found[0].pid)
            os.kill(killed[-1], signal.SIGKILL)

    said: list[str] = []
    killer = threading.Thread(target=kill_often, daemon=True)
    killer.start()
    execute(plan, ray=Ray(cluster.address, workers=2), batch_size=2, say=said.append, progress=False)
    killer.join(1)
    assert len(killed) == 10
    assert sum("it is started again" in line for line in said) == 10
    assert equal(plan, undisturbed(tiny_folder, tmp_path))


def test_a_machine_is_lost(cluster: Any, plan: Plan, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "code" / "seconds.txt").write_text("1.5")
    plan = prepare(
        str(tiny_folder), ["softmax", "ssmax"], f"{tmp_path / 'code' / 'own.py'}:Poison", plan.store.root, settings=GRID
    )
    node = cluster.add_node(num_cpus=1, object_store_memory=1 << 27)
    cluster.wait_for_nodes()

    raylet = node.all_processes["raylet"][0].process.pid

    def pull_the_plug() -> None:
        wait_for(lambda: any(one.ppid() == raylet for one in workers("ray::Worker.measure")))
        cluster.remove_node(node, allow_graceful=False)

    plug = threading.Thread(target=pull_the_plug, daemon=True)
    plug.start()
    said: list[str] = []
    execute(plan, ray=Ray(cluster.address, workers=3), batch_size=2, say=said.append, progress=False)
    plug.join(60)
    assert [line for line in said if "died at" in line]
    assert equal(plan, undisturbed(tiny_folder, tmp_path))


@pytest.mark.parametrize(
    ("joined", "number", "status"),
    [(False, signal.SIGKILL, -9), (True, signal.SIGKILL, -9), (False, signal.SIGINT, 130)],
)
def test_the_driver_is_killed_and_goes_on(
    joined: bool, number: int, status: int, cluster: Any, plan: Plan, tiny_folder: Path, tmp_path: Path
) -> None:
    command = ["run", tiny_folder, "--attention", "softmax", "--attention", "ssmax", "--lengths", "32,64"]
    command += ["--task", f"{tmp_path / 'code' / 'own.py'}:Poison", "--documents", "12", "-o", tmp_path / "runs"]
    command += ["--batch-size", "2", "--workers", "2", "--ray", *([cluster.address] if joined else [])]
    driver = subprocess.Popen(
        [sys.executable, "-m", "ssmax_eval", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may have its jobs ignore it
    )
    wait_for(lambda: len(stored_lines(tmp_path / "runs")) >= 3)
    driver.send_signal(number)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == status
    assert out == ""
    if status == 130:
        assert err.endswith("\nStopped. What is finished is kept; the same command goes on from there.\n")
        assert "Traceback" not in err
    wait_for(lambda: not workers())
    kept = stored_lines(tmp_path / "runs")
    assert 3 <= len(kept) < 48
    if joined:
        assert call(*command).exit_code == 0
        assert set(kept) < set(stored_lines(tmp_path / "runs"))
        assert equal(plan, undisturbed(tiny_folder, tmp_path))
