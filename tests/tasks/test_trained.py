"""Needles in other words than those of the training are named, with the command that asks in the right ones."""

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssmax_eval.cli.main import main
from ssmax_eval.tasks import load
from ssmax_eval.tasks.trained import WORDS, advice, options_for, words_of
from tests.documents import blocks, parse

ROOT = Path(__file__).parents[2]
SSMAX = ROOT / "checkpoints" / "ssmax-seed0"


def test_tasks_in_other_words_are_named() -> None:
    both = [load("niah"), load("loss"), load("key_attention")]
    line = advice("checkpoints/ssmax-seed0", "ssmax-seed0", SSMAX, both)
    assert line is not None
    assert "other words than those of niah and key_attention" in line
    assert line.endswith("ssmax-eval run checkpoints/ssmax-seed0 --task niah_reference,key_attention_reference")
    one = advice("m", "m", SSMAX, [load("niah"), load("key_attention_reference")])
    assert one is not None
    assert one.endswith("--task niah_reference")


@pytest.mark.parametrize("names", [["niah_reference", "loss"], ["loss"]])
def test_nothing_is_said_where_all_is_well(names: list[str]) -> None:
    assert advice("m", "m", SSMAX, [load(name) for name in names]) is None


def test_nothing_is_said_of_a_checkpoint_from_elsewhere(tiny_folder: Path, tmp_path: Path) -> None:
    assert advice("m", "m", tiny_folder, [load("niah")]) is None
    for content in ("{", "[]", '{"recipe": {}}', '{"recipe": 3}'):
        (tmp_path / "training.json").write_text(content)
        assert words_of(tmp_path) == {}


def test_words_of_ones_own_become_settings(tmp_path: Path) -> None:
    recipe = json.loads((SSMAX / "training.json").read_text())["recipe"]
    (tmp_path / "training.json").write_text(json.dumps({"recipe": {**recipe, "digits": 5}}))
    words = words_of(tmp_path)
    assert words == {name: recipe[name] for name in WORDS} | {"digits": 5}
    options = shlex.split(options_for(words, [type(load("niah"))]))
    assert options[:2] == ["--task", "niah"]
    assert "--set" in options
    given = dict(setting.split("=", 1) for setting in options[3::2])
    assert given == {name: str(value) for name, value in words.items()}


@pytest.mark.parametrize("name", ["softmax-seed0", "ssmax-seed0", "lssar-seed0"])
def test_the_command_on_a_card_asks_in_the_words_of_the_training(name: str) -> None:
    (command,) = (b.strip() for b in blocks(ROOT / "checkpoints" / name / "README.md", "sh") if "ssmax-eval run" in b)
    parse(command)
    assert command.endswith(f"checkpoints/{name} --task niah_reference,key_attention_reference")


def test_run_says_it_and_the_command_finds_the_needles(tmp_path: Path) -> None:
    short = ["--lengths", "128", "--depths", "0,0.5,1", "--trials", "1", "-o", str(tmp_path)]
    first = CliRunner().invoke(main, ["run", str(SSMAX), "--task", "niah", *short], catch_exceptions=False)
    assert "  ssmax:s=table  0.00" in first.stdout
    (line,) = [line for line in first.stderr.splitlines() if "other words" in line]
    command = shlex.split(line.split("; try: ")[1])
    second = CliRunner().invoke(main, [*command[1:], *short], catch_exceptions=False)
    assert "  ssmax:s=table  1.00" in second.stdout
    assert "other words" not in second.stderr
