"""Wrong inputs as a user meets them: one line, exit 2, nothing lost, no waiting."""

import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ssmax_eval.cli.main import main
from ssmax_eval.store import Store
from ssmax_eval.tasks import prompts

NIAH = ("--task", "niah", "--lengths", "200", "--trials", "1", "--depths", "0.5")


def refused(arguments: list[str], message: str) -> Result:
    """Run a command that must be refused in one line that holds `message`."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert message in last
    assert len(last) < 2100
    return result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "100000000"], "would have 500,000,000 cells (5 depths x 100,000,000 trials)"),
        (["--trials", "9" * 25], "must be smaller than 2^63"),
        (["--lengths", "1:2:100000000"], "must ask for 1 to 100,000 numbers"),
        (["--lengths", "1e999"], "neither numbers with commas"),
        (["--lengths", "1e12"], "must be at most 1,073,741,824 tokens"),
        (["--depths", "nan"], "neither numbers with commas"),
        (["--set", "seed=.inf"], "must be a whole number; got inf"),
        (["--set", "needle='{foo} {number}'"], "no other braces"),
        (["--set", "needle='{number'"], "no other braces"),
        (["--set", 'needle="\\ud800 {number}"'], "half a character"),
        (["--set", "max_new_tokens=0"], "max_new_tokens must be 1 or more"),
        (["--attention", "ssmax:s=inf"], "must be below 1e30; got 'inf'"),
        (["--attention", ":A"], "unknown attention ''"),
        (["--rope-theta-scale", "nan"], "must be above 0"),
        (["--rope", "yarn:factor=nan"], "must be 0 to 1e+09; got 'nan'"),
        (["--train-length", "0"], "--train-length must be 1 to"),
        (["--device", "meta"], "no such device 'meta'"),
        (["--text", "x" * 5000], "no such text: 'xxx"),
        (["--text", "/dev/zero"], "it is a pipe, a device or a socket"),
        (["-o", "x" * 300], "File name too long"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(options: list[str], message: str, tiny_folder: Path) -> None:
    task = [] if options[0] == "--trials" else ["--trials", "1"]
    refused(["run", str(tiny_folder), "--task", "niah", "--lengths", "200", *task, "--dry-run", *options], message)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a/" + "b" * 300, "", "/dev/null", "x" * 300 + ".gguf"])
def test_a_name_that_is_no_checkpoint_is_one_line(name: str, tmp_path: Path) -> None:
    refused(["run", name, *NIAH, "-o", str(tmp_path)], "")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A checkpoint to be broken."""
    shutil.copytree(tiny_folder, tmp_path / "broken")
    return tmp_path / "broken"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('only with tools') }}", "only with tools"),
        ("{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}"
         "{% endfor %}", "longer than 0.5 seconds"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ 1/0 }}", "ZeroDivisionError"),
        ("{% if", "TemplateSyntaxError"),
    ],
)  # fmt: skip
def test_a_chat_template_that_fails_or_never_ends_is_one_line(
    template: str, message: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "TEMPLATE_SECONDS", 0.5)
    (folder / "chat_template.jinja").write_text(template)
    result = refused(["run", str(folder), *NIAH, "-o", str(tmp_path / "o")], message)
    assert "the chat template of this tokenizer fails; try --no-chat-template" in result.stderr


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"model": 3}', "[" * 100_000])
def test_a_broken_tokenizer_says_what_is_broken(content: str, folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").write_text(content)
    refused(["run", str(folder), *NIAH, "-o", str(tmp_path / "o")], "the tokenizer of")
    refused(["check", str(folder), "--attention", "softmax"], "tokenizer.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 100_000},
        {"num_hidden_layers": -1},
        {"num_attention_heads": 10**9},
        {"hidden_size": 10**18},
        {"vocab_size": 10**15},
        {"ssmax_eval": {"attention": ["a"]}},
        {"max_position_embeddings": -5},
    ],
)
def test_a_config_of_absurd_size_is_refused_in_the_dry_run(changes: dict[str, object], folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    refused(["run", str(folder), *NIAH, "--dry-run"], "")


@pytest.mark.parametrize("name", ["chat_template.jinja", "extra.json", "model-2.safetensors"])
def test_a_pipe_in_a_checkpoints_folder_is_refused_before_it_is_read(name: str, folder: Path) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    for command in (["run", str(folder), *NIAH, "--dry-run"], ["check", str(folder)]):
        refused(command, f"{name}': it is a pipe")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["layers=100000"], "a model of 100,000 layers"),
        (["width=1000000000", "heads=1"], "is too large to train here"),
        (["text_sequences=1000000000"], "a batch of"),
    ],
)
def test_a_recipe_of_absurd_size_is_refused(settings: list[str], message: str, tmp_path: Path) -> None:
    given = [part for setting in settings for part in ("--set", setting)]
    refused(["train", "cpu", *given, "-o", str(tmp_path / "t")], message)


@contextmanager
def full(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 300, 1500])
def test_a_full_disk_is_one_line_and_loses_nothing(size: int, tiny_folder: Path, tmp_path: Path) -> None:
    arguments = ["run", str(tiny_folder), "--task", "loss", "--lengths", "64", "--documents", "4", "-o", str(tmp_path)]
    with full(size):
        refused(arguments, "cannot write")
    assert CliRunner().invoke(main, arguments).exit_code == 0
    (run,) = (path.parent for path in tmp_path.glob("*/run.json"))
    assert len(Store(tmp_path).cells(run.name)) == 4
    assert not list(tmp_path.rglob("*.unfinished"))


@pytest.mark.parametrize("size", [0, 3000])
def test_a_full_disk_stops_convert_and_train_in_one_line(size: int, tiny_folder: Path, tmp_path: Path) -> None:
    with full(size):
        refused(["convert", str(tiny_folder), "--attention", "ssmax", "-o", str(tmp_path / "c")], "cannot write")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["convert", "train"])
def test_a_folder_that_cannot_be_written_is_one_line(command: str, tiny_folder: Path) -> None:
    start = ["convert", str(tiny_folder), "--attention", "ssmax"] if command == "convert" else ["train", "cpu"]
    for place in ("/dev/null/x", "x" * 300):
        refused([*start, "-o", place], "")


def test_a_lock_that_cannot_be_written_is_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    arguments = ["run", str(tiny_folder), "--task", "loss", "--lengths", "64", "--documents", "1", "-o", str(tmp_path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    (run,) = (path.parent for path in tmp_path.glob("*/run.json"))
    (run / "cells.jsonl").unlink()
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").mkdir()
    refused(arguments, "cannot write results")


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff"])
def test_a_lost_or_damaged_description_is_written_again_beside_whole_cells(
    content: bytes | None, tiny_folder: Path, tmp_path: Path
) -> None:
    arguments = ["run", str(tiny_folder), "--task", "loss", "--lengths", "64", "--documents", "1", "-o", str(tmp_path)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    (path,) = tmp_path.glob("*/run.json")
    whole = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 0, again.output
    assert "Everything is in the store already" in again.stderr
    assert path.read_bytes() == whole
