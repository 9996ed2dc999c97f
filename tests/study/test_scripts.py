"""The two scripts give commands that the package takes. What the commands do takes hours, and is not done here."""

import os
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from ssmax_eval.cli.main import main
from ssmax_eval.train.recipe import load

STUDY = Path(__file__).parents[2] / "study"


def commands(script: str, folder: Path, *arguments: str) -> list[list[str]]:
    """What a script calls, as stand-ins for `ssmax-eval` and `python` write it down."""
    log = folder / "log"
    for name in ("ssmax-eval", "python"):
        stand_in = folder / "bin" / name
        stand_in.parent.mkdir(exist_ok=True)
        line = f"""for word in {name} "$@"; do printf '%s\\0' "$word"; done; echo"""
        stand_in.write_text(f"#!/bin/sh\n{{ {line}; }} >> {shlex.quote(str(log))}\n")
        stand_in.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", STUDY / script, *arguments], cwd=folder, env={**os.environ, "PATH": path}, check=True)
    return [line.split("\0")[:-1] for line in log.read_text().splitlines()]


def parsed(command: list[str]) -> click.Context:
    """A command of `ssmax-eval`, parsed and not run."""
    _, name, *arguments = command
    chosen = main.get_command(click.Context(main), name)
    assert chosen is not None
    return chosen.make_context(name, arguments)


def test_every_checkpoint_is_trained_once_with_a_recipe_that_can_be_read(tmp_path: Path) -> None:
    found = commands("train.sh", tmp_path)
    names = [command[command.index("-o") + 1].removeprefix("checkpoints/") for command in found]
    assert len(names) == len(set(names)) == 36
    stored = {path.parent.name for path in STUDY.parent.glob("checkpoints/*/training.json")}
    stored |= {path.stem for path in STUDY.parent.glob("checkpoints/records/*.json")}
    assert set(names) == stored
    for command in found:
        assert parsed(command).params["attention"] is not None
        settings = [command[i + 1] for i, word in enumerate(command) if word == "--set"]
        recipe = load("cpu", {"attention": command[command.index("--attention") + 1]}, settings)
        assert recipe.train_length == (512 if "-512-" in command[command.index("-o") + 1] else 128)


def test_another_attention_is_trained_the_same(tmp_path: Path) -> None:
    found = commands("train.sh", tmp_path, "--attention", "lssar:p=7")
    assert [command[command.index("-o") + 1] for command in found] == [
        f"checkpoints/lssar-p-7-seed{seed}" for seed in range(3)
    ]
    assert all(command[command.index("--attention") + 1] == "lssar:p=7" for command in found)
    assert [command[command.index("--seed") + 1] for command in found] == ["0", "1", "2"]


@pytest.mark.parametrize("arguments", [["--attention"], ["lssar"], ["--attention", "lssar", "x"], ["--help"]])
def test_a_mistake_trains_nothing(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(["sh", STUDY / "train.sh", *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: study/train.sh [--attention NAME]")


def test_what_has_weights_is_measured_and_the_page_written(tmp_path: Path) -> None:
    for name in ("softmax-seed0", "ssmax-seed0", "ssmax-text-seed0", "per-n-seed0"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "model.safetensors").touch()
    (tmp_path / "checkpoints" / "ssmax-seed3").mkdir()
    (tmp_path / "checkpoints" / "records").mkdir()
    *runs, page = commands("measure.sh", tmp_path)
    assert page == ["python", "-m", "study", "results/reference", "--checkpoints", "checkpoints", "-o", "results"]
    measured = [command[2] for command in runs]
    assert {name: measured.count(name) for name in measured} == {
        "checkpoints/softmax-seed0": 4,
        "checkpoints/ssmax-seed0": 3,
    }
