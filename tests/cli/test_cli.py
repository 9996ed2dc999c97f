"""The commands as a user types them, on the tiny checkpoint."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ssmax_eval import ATTENTIONS, read_results
from tests.cli.typed import call, stored_lines
from tests.conftest import make_tokenizer

SMALL = ["--lengths", "200,256", "--trials", "1", "--depths", "0:1:2", "--documents", "2"]


def test_run_report_and_run_again(tiny_folder: Path, tmp_path: Path) -> None:
    command = [
        "run",
        tiny_folder,
        "--attention",
        "softmax",
        "--attention",
        "lssar:p=3",
        *SMALL,
        "-o",
        tmp_path / "runs",
    ]
    first = call(*command)
    assert first.exit_code == 0, first.output
    assert "lssar:p=3" in first.stdout
    assert "softmax" in first.stdout
    frame = read_results(tmp_path / "runs")
    assert set(frame.task) == {"niah", "loss", "key_attention"}
    assert set(frame.attention) == {"softmax", "lssar:p=3"}
    assert (frame.actual_length.dropna() == frame.context_length[frame.actual_length.notna()]).all()
    before = {path: path.read_bytes() for path in (tmp_path / "runs").glob("*/cells.jsonl")}
    again = call(*command)
    assert "Everything is in the store already" in again.stderr
    assert again.stdout == first.stdout
    assert {path: path.read_bytes() for path in before} == before
    compared = call("compare", tmp_path / "runs", "--baseline", "softmax").stdout
    assert "lssar:p=3" in compared
    assert "documents" in compared
    assert "unknown baseline 'nope'" in call("compare", tmp_path / "runs", "--baseline", "nope").stderr
    report = call("report", tmp_path / "runs", "-o", tmp_path / "report")
    assert report.exit_code == 0, report.output
    assert {".html", ".md"} <= {Path(line).suffix for line in report.stdout.split()}
    for suffix in ("png", "pdf", "csv"):
        assert list((tmp_path / "report").rglob(f"*.{suffix}"))


def test_dry_run_says_cells_and_tokens_and_writes_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    result = call("run", tiny_folder, "--task", "niah", *SMALL[:6], "--dry-run", "-o", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    assert "      4      4        912" in result.stdout
    assert not (tmp_path / "runs").exists()


def test_max_length_leaves_out_and_says_so(tiny_folder: Path, tmp_path: Path) -> None:
    result = call("run", tiny_folder, "--task", "loss", *SMALL[:2], "--max-length", "220", "-o", tmp_path)
    assert "left out beyond --max-length: 256" in result.stderr
    assert set(read_results(tmp_path).context_length) == {200}


def test_list_and_check(tiny_folder: Path) -> None:
    listed = call("list").stdout
    assert all(name in listed for name in ("smollm2-135m", "lssar", "key_attention"))
    checked = call("check", tiny_folder)
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.count("ok   ") == len(ATTENTIONS)
    assert "2 layers x 4 heads" in checked.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "niahh"], "unknown task 'niahh'; did you mean 'niah'"),
        (["--attention", "ssmaxx"], "unknown attention 'ssmaxx'; did you mean 'ssmax'"),
        (["--attention", "ssmax:t=1"], "unknown parameter of attention 'ssmax': 't'"),
        (["--attention", "ssmax:s=none.json"], "none.json"),
        (["--attention", "nothing.such:Mine"], "cannot import 'nothing.such'"),
        (["--text", "absent.txt"], "no such text: 'absent.txt'"),
        (["--task", "absent.yaml"], "cannot read task file"),
        (["--task", "loss", "--lengths", "9999999"], "give a longer --text"),
        (["--task", "niah", "--lengths", "9999999"], "give a longer --text"),
        (["--task", "niah", "--lengths", "20"], "too short"),
        (["--device", "cuda:77"], "no such device"),
        (["--device", "toaster"], "no such device"),
        (["--dtype", "float7"], "unknown dtype 'float7'"),
        (["--set", "depht=1"], "'depht'; did you mean 'depths'"),
        (["--set", "depths"], "FIELD=VALUE"),
        (["--task", "loss", "--trials", "3"], "unknown field of task loss: 'trials'"),
        (["--depths", "0,2"], "between 0"),
        (["--max-length", "10"], "leaves no length"),
        (["--lengths", "many"], "neither numbers"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], message: str, tiny_folder: Path, tmp_path: Path
) -> None:
    result = call("run", tiny_folder, *arguments, "-o", tmp_path / "runs")
    assert result.exit_code == 2
    assert message in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output
    assert not (tmp_path / "runs").exists()


def test_mistakes_about_the_checkpoint(tiny_folder: Path, tmp_path: Path) -> None:
    def refused(folder: Path | str, message: str, *more: str) -> None:
        result = call("run", folder, "--task", "loss", "--lengths", "32", "-o", tmp_path / "runs", *more)
        assert result.exit_code == 2, result.output
        assert message in result.stderr.strip().splitlines()[-1]
        assert not (tmp_path / "runs").exists()

    refused(tmp_path / "absent", "no checkpoint at")
    refused("absent.gguf", "no such file")
    refused("org/absent", "no local folder 'org/absent', and the hub does not give it")
    refused(tmp_path, "holds no config.json")
    cut = tmp_path / "cut"
    shutil.copytree(tiny_folder, cut)
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(cut, "not a whole safetensors file")
    (cut / "model.safetensors").write_bytes(b"")
    refused(cut, "not a whole safetensors file")
    (cut / "model.safetensors").unlink()
    refused(cut, "holds no weights")
    (cut / "pytorch_model.bin").write_bytes(b"pickle")
    refused(cut, "--allow-pickle")
    (cut / "config.json").write_text('{"model_type": "nonesuch"}')
    refused(cut, "the config of")
    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder, bare)
    for path in bare.glob("tokenizer*"):
        path.unlink()
    refused(bare, "no tokenizer")
    fake = tmp_path / "fake.gguf"
    fake.write_bytes(b"GGUF????")
    refused(fake, "cannot be read as a GGUF checkpoint")


def test_a_stored_cell_can_be_looked_into(tiny_folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"Sentence {'abc'[i % 3]} has {i * i} words." for i in range(900)))
    call("run", tiny_folder, *SMALL, "--task", "niah", "--task", "loss", "--text", text, "-o", tmp_path / "runs")
    (needle,) = (tmp_path / "runs").glob("*_niah_*")
    (loss,) = (tmp_path / "runs").glob("*_loss_*")
    cell = "context_length=200,depth=1.0,trial=0"
    row = read_results(needle).query("context_length == 200 and depth == 1.0").iloc[0]
    prompt = call("reconstruct", needle, "--cell", cell).stdout
    tokens = make_tokenizer()(f"{prompt} {row.expected}", add_special_tokens=False)["input_ids"]
    assert len(tokens) == 200
    assert f"The special magic number for {row.city} is {row.expected}." in prompt
    assert prompt.endswith(f"The special magic number for {row.city} is")
    shown = call("show", needle, "--cell", cell).stdout
    assert f"expected  {row.expected}" in shown
    assert str(list(row.expected)) in shown
    assert "nats per token" in call("show", loss, "--cell", "context_length=200,document=1").stdout
    for folder, where, message in (
        (needle, "context_length=999,depth=1.0,trial=0", "has no cell"),
        (needle, "depth", "a cell is written"),
    ):
        refused = call("show", folder, "--cell", where)
        assert refused.exit_code == 2
        assert message in refused.stderr
    assert "has no prompt" in call("reconstruct", loss, "--cell", "context_length=200,document=1").stderr
    path = needle / "cells.jsonl"  # as if another version had made other prompts
    plain = re.sub(rb',"crc":"\w+"}\n', b"}\n", path.read_bytes())
    path.write_bytes(re.sub(rb'"prompt_digest":"\w+"', b'"prompt_digest":"0123456789abcdef"', plain))
    refused = call("reconstruct", needle, "--cell", cell)
    assert refused.exit_code == 2
    assert f"cannot make the prompt of {cell} again: the stored digest is not" in refused.stderr
    shown = call("show", needle, "--cell", cell).stdout
    assert "the prompt cannot be shown" in shown
    assert str(row.expected) in shown
    text.write_text("Something else. " * 900)
    assert "not the one that was measured" in call("show", needle, "--cell", cell).stderr


def test_report_of_nothing(tmp_path: Path) -> None:
    result = call("report", tmp_path, "-o", tmp_path / "report")
    assert result.exit_code == 2
    assert "no runs in" in result.stderr
    assert not (tmp_path / "report").exists()


def test_a_killed_run_goes_on_and_loses_nothing(tiny_folder: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, then the same command: every cell once, and the numbers of an undisturbed run."""
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"word{i}" for i in range(3000)))
    arguments = ["run", str(tiny_folder), "--task", "loss", "--lengths", "64", "--documents", "120"]
    arguments += ["--text", str(text)]
    command = [sys.executable, "-m", "ssmax_eval.cli.main", *arguments, "-o", str(tmp_path / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (lines := stored_lines(tmp_path / "runs")) or len(lines) < 10:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed = stored_lines(tmp_path / "runs")
    assert 10 <= len(killed) < 120
    assert call(*arguments, "-o", tmp_path / "runs").exit_code == 0
    done = stored_lines(tmp_path / "runs")
    assert done[: len(killed) - 1] == killed[:-1]
    frame = read_results(tmp_path / "runs")
    assert (frame.groupby(["document", "position"]).size() == 1).all()
    assert frame.document.nunique() == 120
    call(*arguments, "-o", tmp_path / "whole")
    assert frame.nll.tolist() == read_results(tmp_path / "whole").nll.tolist()
