"""The compiled kernel is built once, and a machine without a working compiler goes without."""

import logging
import shutil
from pathlib import Path

import pytest

from ssmax_eval.attention.kernels import native

pytestmark = pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")


def test_a_compiler_that_fails_is_one_logged_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "false")
    with caplog.at_level(logging.WARNING):
        assert native.library.__wrapped__() is None
    assert len(caplog.records) == 1
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert native.library.__wrapped__() is None
    assert len(caplog.records) == 1


def test_it_is_built_once_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("SSMAX_EVAL_CACHE", str(tmp_path))
    assert native.library.__wrapped__() is not None
    (made,) = (tmp_path / "kernels").iterdir()
    before = made.stat().st_mtime_ns
    assert native.library.__wrapped__() is not None
    assert made.stat().st_mtime_ns == before
