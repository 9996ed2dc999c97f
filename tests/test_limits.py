"""Somebody else's code is stopped when it takes too long."""

import itertools
import threading
import time

import pytest

from ssmax_eval.limits import within


def test_what_is_quick_gives_its_result_or_its_own_error() -> None:
    assert within(10, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 / 0)


def test_what_never_ends_is_stopped_and_leaves_no_thread_that_runs() -> None:
    def endless() -> None:
        for _ in itertools.count():
            try:
                time.sleep(0)
            except Exception:  # code that catches everything does not catch this
                continue

    before, started = threading.active_count(), time.perf_counter()
    with pytest.raises(TimeoutError, match=r"longer than 0\.2 seconds"):
        within(0.2, endless)
    assert time.perf_counter() - started < 5
    assert threading.active_count() <= before
