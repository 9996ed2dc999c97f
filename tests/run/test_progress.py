"""How far a command is: in lines, or in a bar."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest

from ssmax_eval.measurement import Cell
from ssmax_eval.run.progress import Progress, duration


def test_a_line_at_each_tenth_and_after_half_a_minute() -> None:
    said: list[str] = []
    now = 0.0
    cells = [Cell(length, trial=trial) for length in (10, 20) for trial in range(40)]
    with Progress([cells[:40], cells[40:]], {10: 1, 20: 9}, said.append, clock=lambda: now) as progress:
        progress.begin("niah | ssmax")
        for cell in cells[:40]:
            now += 1
            progress.finished([cell])
        assert len(said) == 2
        assert said[0].startswith("8% done (30 of 80 cells), now niah | ssmax; 6 min to go, until about ")
        assert said[1].startswith("10% done (40 of 80 cells)")
        progress.begin("loss | ssmax")
        for cell in cells[40:]:
            now += 1
            progress.finished([cell])
    shares = [int(line.split("%")[0]) for line in said[2:]]
    assert [share // 10 for share in shares] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert "now loss | ssmax; 8 s to go, until about" in said[-1]
    assert re.search(r"until about \d\d:\d\d$", said[-1])


def test_the_last_cell_needs_no_line() -> None:
    said: list[str] = []
    with Progress([[Cell(10)]], {10: 5}, said.append) as progress:
        progress.finished([Cell(10)])
    assert said == []


def test_durations_are_rough() -> None:
    assert [duration(40), duration(700), duration(12600)] == ["40 s", "12 min", "3.5 h"]


def test_in_a_terminal_there_is_a_bar_and_lines_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 90, 0, 0))
    cells = [Cell(10, trial=trial) for trial in range(4)]
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)

        def say(line: str) -> None:
            print(line, file=terminal)

        with Progress([cells], {10: 10**12}, say) as progress:
            progress.begin("loss | softmax")
            progress.write("loss | softmax: 4 cells")
            progress.finished(cells[:2])
            progress.write("half of it")
        monkeypatch.undo()
        shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    parts = [part.strip() for part in re.split(r"[\r\n]+", shown) if part.strip()]
    assert "loss | softmax: 4 cells" in parts
    assert "half of it" in parts
    assert any(part.startswith("loss | softmax  50 % |") for part in parts)
    assert "% done" not in shown
