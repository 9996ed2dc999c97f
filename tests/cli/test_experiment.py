"""A whole experiment in one file: what it may say, where its paths lead, and what wins."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from ssmax_eval import read_results
from tests.cli.typed import call, stored_lines
from tests.documents import ROOT, blocks

WORDS = ("river", "house", "fox", "garden", "letter", "road", "king")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A folder with all that an experiment names, which is not the folder that commands are run in."""
    place = tmp_path / "experiment"
    shutil.copytree(tiny_folder, place / "models" / "tiny")
    shutil.copy(ROOT / "examples" / "my_attention.py", place / "mine.py")
    (place / "s.json").write_text("[[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]")
    (place / "text.txt").write_text(" ".join(f"The {WORDS[i % 7]} saw {WORDS[i % 5]}." for i in range(3000)))
    (place / "short.yaml").write_text("task: loss\nlengths: [24]\ndocuments: 1\n")
    return place


def write(folder: Path, **content: object) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({"checkpoint": "models/tiny", "output": "runs", **content}))
    return path


def test_a_whole_experiment(folder: Path) -> None:
    path = write(
        folder,
        attention=["softmax", "ssmax:s=s.json", "mine.py:Mine:b=0.5"],
        task=["short.yaml", {"task": "niah", "lengths": [200], "depths": [0, 1], "digits": 3}],
        text="text.txt",
        trials=1,
        rope_theta_scale=2,
        no_chat_template=True,
    )
    result = call("run", "--config", path)
    assert result.exit_code == 0, result.output
    assert f"Next: ssmax-eval report {folder / 'runs'} -o report" in result.stderr
    frame = read_results(folder / "runs")
    assert set(frame.attention) == {"softmax", "ssmax:s=table", "Mine:b=0.5"}
    assert set(frame.rope) == {"base x2"}
    assert set(frame.query("task == 'loss'").context_length) == {24}
    needles = frame.query("task == 'niah'")
    assert set(needles.context_length) == {200}
    assert set(needles.depth) == {0.0, 1.0}
    assert set(needles.prompt) == {"plain"}
    assert set(needles.expected.str.len()) == {3}
    again = call("run", "--config", path)
    assert "Everything is in the store already" in again.stderr


def test_the_command_line_wins(folder: Path, tmp_path: Path) -> None:
    settings = {"digits": 3, "trials": 2, "depths": [0.5]}
    path = write(folder, attention="softmax", task="niah", lengths=[200, 256], seed=3, set=settings)
    typed = ["--attention", "ssmax:s=0.3", "--lengths", "200", "--trials", "1", "--set", "digits=4"]
    result = call("run", "--config", path, *typed, "-o", tmp_path / "typed")
    assert result.exit_code == 0, result.output
    frame = read_results(tmp_path / "typed")
    assert set(frame.attention) == {"ssmax:s=0.3"}
    assert set(frame.context_length) == {200}
    assert set(frame.depth) == {0.5}
    assert frame.trial.nunique() == 1
    assert set(frame.expected.str.len()) == {4}
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"lenghts": [8]}, "unknown key in '{path}': 'lenghts'; did you mean 'lengths'?"),
        ({"tasks": ["loss"]}, "unknown key in '{path}': 'tasks'; did you mean 'task'?"),
        ({"config": "more.yaml"}, "unknown key in '{path}': 'config'"),
        ({"trials": 1.5}, "'trials' in '{path}': '1.5' is not a valid integer"),
        ({"trials": [1, 2]}, "'trials' in '{path}' takes one value; got [1, 2]"),
        ({"lengths": "many"}, "'lengths' in '{path}': 'many' is neither numbers"),
        ({"batch-size": 0}, "'batch-size' in '{path}': '0' is neither a whole number from 1 nor 'auto'"),
        ({"quiet": "perhaps"}, "'quiet' in '{path}': 'perhaps' is not a valid boolean"),
        ({"text": {"a": 1}}, "'text' in '{path}' must be a text, a number or a list of them; got {{'a': 1}}"),
        ({"text": "absent.txt"}, "no such text: '{path.parent}/absent.txt'"),
        ({"set": ["digits=3"]}, "'set' in '{path}' must be a mapping from fields to values"),
        ({"set": {"digitz": 3}}, "unknown field of task niah, loss, key_attention: 'digitz'; did you mean 'digits'?"),
        ({"task": [{"lengths": [8]}]}, "each task in '{path}' must be a name, or a mapping with a 'task'"),
        ({"task": [{"task": "lossy"}]}, "unknown task 'lossy'; did you mean 'loss'?"),
        ({"task": [{"task": "loss", "trials": 2}]}, "unknown field in task 'loss' of '{path}': 'trials'"),
        (
            {"task": [{"task": "loss", "lengths": [16]}], "lengths": [8]},
            "'{path}' gives 'lengths' to all tasks and to task 'loss'; give it once",
        ),
        ({"checkpoint": "./models/absent"}, "no checkpoint at '{path.parent}/models/absent'"),
    ],
    ids=str,
)
def test_mistakes_are_one_line_and_exit_2(content: dict[str, object], message: str, folder: Path) -> None:
    path = write(folder, **content)
    result = call("run", "--config", path)
    assert result.exit_code == 2
    assert message.format(path=path) in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (folder / "runs").exists()


def test_without_a_file_or_a_checkpoint(folder: Path) -> None:
    assert "Missing argument 'CHECKPOINT'" in call("run", "--task", "loss").stderr
    assert "cannot read experiment 'absent.yaml'" in call("run", "--config", "absent.yaml").stderr
    path = write(folder, checkpoint=None)
    assert f"'{path}' names no checkpoint" in call("run", "--config", path).stderr
    path.write_text("- niah\n")
    assert "must be a mapping" in call("run", "--config", path).stderr


@pytest.mark.slow
def test_a_killed_experiment_goes_on(folder: Path) -> None:
    path = write(
        folder, attention="softmax", text="text.txt", task=[{"task": "loss", "lengths": [64], "documents": 90}]
    )
    command = [sys.executable, "-m", "ssmax_eval", "run", "--config", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(stored_lines(folder / "runs")) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = stored_lines(folder / "runs")
    assert call("run", "--config", path).exit_code == 0
    done = stored_lines(folder / "runs")
    assert done[: len(kept) - 1] == kept[:-1]
    assert read_results(folder / "runs").document.nunique() == 90


def test_the_experiment_of_the_page_is_one(folder: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "scripts.md", "yaml")
    (folder / "page.yaml").write_text(block)
    shutil.copy(folder / "text.txt", folder / "novel.txt")
    (folder / "my_attention.py").write_text((folder / "mine.py").read_text())
    result = call("run", folder / "models" / "tiny", "--config", folder / "page.yaml", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    found = [(one["task"], one["attention"]) for one in json.loads(result.stdout)["forecast"]]
    assert found == [(task, name) for name in ("softmax", "ssmax:s=0.168", "Mine") for task in ("niah", "loss")]


def test_the_example_is_an_experiment(tiny_folder: Path, tmp_path: Path) -> None:
    """All but its checkpoint, which not every machine has."""
    result = call("run", tiny_folder, "--config", ROOT / "examples" / "experiment.yaml", "--dry-run", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    runs = [line.split()[:2] for line in result.stdout.splitlines()[1:-1]]
    assert [task for task, _ in runs] == ["niah", "loss"] * 3
    assert [attention.partition(":")[0] for _, attention in runs[::2]] == ["softmax", "ssmax", "Mine"]
