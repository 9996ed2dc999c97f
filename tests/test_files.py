"""Files are whole or absent, and lines too, whatever stops the process."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from ssmax_eval import files
from ssmax_eval.errors import UserError

ROOT = Path(__file__).parents[1]


def test_a_file_is_written_whole_into_a_new_folder(tmp_path: Path) -> None:
    path = files.write_whole(tmp_path / "a" / "b.txt", "ä")
    assert path.read_bytes() == "ä".encode()
    assert files.write_whole(path, b"new").read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write_whole(tmp_path / "report.md", "old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_or_read_is_one_line(tmp_path: Path) -> None:
    blocked = files.write_whole(tmp_path / "file", "") / "below"
    with pytest.raises(UserError, match=r"cannot write .*below': a folder of this path is a file"):
        files.write_whole(blocked, "")
    with pytest.raises(UserError, match=r"cannot write .*below"), files.whole_folder(blocked):
        pass
    with pytest.raises(UserError, match=r"cannot write .*below"):
        files.append_line(blocked, "")
    with pytest.raises(UserError, match=r"cannot read .*Is a directory"):
        files.whole_lines(tmp_path)


def _fill(target: Path, ready: "multiprocessing.synchronize.Event") -> None:
    with files.whole_folder(target) as draft:
        (draft / "weights").write_text("half")
        ready.set()
        time.sleep(60)


def test_a_folder_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "copy"
    with files.whole_folder(target) as draft:
        (draft / "weights").write_text("whole")
        assert not target.exists()
    assert (target / "weights").read_text() == "whole"
    with pytest.raises(ZeroDivisionError), files.whole_folder(tmp_path / "other") as draft:
        (draft / "weights").write_text("half")
        1 / 0  # noqa: B018
    with pytest.raises(UserError, match="holds something already"), files.whole_folder(target):
        pass
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "weights").read_text() == "whole"


def test_a_folder_that_a_kill_interrupts_never_gets_its_name(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_fill, args=(tmp_path / "copy", ready))
    process.start()
    assert ready.wait(60)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "copy").exists()


def test_whole_lines_are_read_and_a_partial_one_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert files.whole_lines(path) == []
    files.drop_partial_line(path)
    assert not path.exists()
    for line in ("one", "zwölf \u2028", ""):
        files.append_line(path, line)
    lines = [b"one", "zwölf \u2028".encode(), b""]
    assert files.whole_lines(path) == lines
    path.write_bytes(path.read_bytes() + b"half")
    assert files.whole_lines(path) == lines
    files.drop_partial_line(path)
    files.append_line(path, "next")
    assert files.whole_lines(path) == [*lines, b"next"]
    path.write_bytes(b"half")
    files.drop_partial_line(path)
    assert path.read_bytes() == b""


def test_the_cache_folder_is_the_users_or_the_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSMAX_EVAL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert files.cache_folder() == Path("/x/ssmax-eval")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.cache_folder() == Path.home() / ".cache/ssmax-eval"
    monkeypatch.setenv("SSMAX_EVAL_CACHE", "/y")
    assert files.cache_folder() == Path("/y")


def test_a_home_that_is_not_known_stays_as_it_is() -> None:
    assert files.expanded("~no-such-user-here/x") == Path("~no-such-user-here/x")
    assert files.expanded("~\ud800") == Path("~\ud800")
    assert files.expanded("~/x") == Path.home() / "x"


def test_two_machines_may_write_a_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of two machines, which may have the same number, write a file on a disk that they share."""
    path, sync = tmp_path / "run.json", os.fsync

    def meanwhile(file: int) -> None:
        sync(file)
        monkeypatch.setattr(os, "fsync", sync)
        files.write_whole(path, "other")
        assert path.read_text() == "other"

    monkeypatch.setattr(os, "fsync", meanwhile)
    files.write_whole(path, "own")
    assert path.read_text() == "own"
    assert list(tmp_path.iterdir()) == [path]
