"""SIGTERM ends a command within a second; what is finished is kept, and the same command goes on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.typed import call, stored_lines

SECONDS = 3.0
"""A second, and room for a busy machine."""
BUSY = """
import hashlib, sys
from ssmax_eval.cli.stopping import ended_by_sigterm
with ended_by_sigterm():
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 100_000_000)  # minutes in which no line of Python runs
"""


def terminated(process: "subprocess.Popen[str]") -> tuple[float, str]:
    """Send SIGTERM; return the seconds that the process took to end, and what it wrote to stderr."""
    process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    return time.monotonic() - started, err


def test_a_run_ends_in_a_second_and_goes_on(tiny_folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text(" ".join(f"word{i}" for i in range(3000)))
    arguments = ["run", str(tiny_folder), "--task", "loss", "--lengths", "64", "--documents", "120"]
    arguments += ["--text", str(text), "--batch-size", "1", "-o", str(tmp_path / "runs")]
    command = [sys.executable, "-m", "ssmax_eval", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(stored_lines(tmp_path / "runs")) < 10:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    seconds, err = terminated(process)
    kept = stored_lines(tmp_path / "runs")
    assert process.returncode == 143
    assert seconds < SECONDS
    assert err.endswith("\nStopped. What is finished is kept; the same command goes on from there.\n")
    assert "Traceback" not in err
    assert 10 <= len(kept) < 120
    assert call(*arguments).exit_code == 0
    assert stored_lines(tmp_path / "runs")[: len(kept)] == kept
    assert len(stored_lines(tmp_path / "runs")) == 120


def test_an_operation_that_takes_long_is_not_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    time.sleep(0.1)
    seconds, err = terminated(process)
    assert process.returncode == 143
    assert seconds < SECONDS
    assert err.count("Stopped.") == 1


def test_without_a_terminal_lines_say_how_far_it_is(tiny_folder: Path, tmp_path: Path) -> None:
    command = ["run", tiny_folder, "--task", "loss", "--lengths", "64", "--documents", "20", "--batch-size", "1"]
    err = call(*command, "-o", tmp_path / "runs").stderr
    lines = [line for line in err.splitlines() if "% done" in line]
    assert len(lines) == 9
    assert lines[4].startswith("50% done (10 of 20 cells), now loss | softmax; ")
    quiet = call(*command, "-o", tmp_path / "again", "--quiet")
    assert quiet.exit_code == 0
    assert quiet.stderr == ""
    assert "softmax" in quiet.stdout
