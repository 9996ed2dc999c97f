"""SIGTERM, which batch systems send before they kill, ends a command as Ctrl-C does, and within a second."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

GRACE = 0.7
"""Seconds that the main thread has to end by itself. It may be inside one long operation of torch."""
TERMINATED = 128 + signal.SIGTERM
"""Exit status of a command that SIGTERM has ended."""
STOPPED = "\nStopped. What is finished is kept; the same command goes on from there.\n"


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise `Terminated` in the main thread when SIGTERM arrives; end the process where that takes too long.

    Every finished cell is on the disk already, so ending the process loses no more than a kill does: nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handler = signal.signal(signal.SIGTERM, _terminate)
    wakeup = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    unwound = threading.Event()
    threading.Thread(target=_watch, args=(reading, unwound), daemon=True).start()
    try:
        yield
    finally:
        unwound.set()
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGTERM, handler)
        os.close(writing)


def end_now() -> NoReturn:
    """End the process. Python's own way out takes seconds once torch is imported."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(TERMINATED)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _watch(reading: int, unwound: threading.Event) -> None:
    """Wait for SIGTERM. Python writes it to the pipe at once, also while the main thread is inside an operation."""
    while number := os.read(reading, 1):
        if number[0] == signal.SIGTERM:
            time.sleep(GRACE)
            if not unwound.is_set():
                os.write(2, STOPPED.encode())
            os._exit(TERMINATED)
    os.close(reading)
