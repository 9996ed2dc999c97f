"""A process that holds a part of the model, while another one says what happens."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PAUSE = 5.0
"""Seconds in which the first process, where the same has happened to it, says so and ends them all."""


@contextmanager
def silent(follows: bool) -> Iterator[None]:
    """Inside the block, say nothing where a process `follows`. A failure is said only if the first one lives on."""
    if not follows:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    try:
        yield
    except Exception:
        time.sleep(PAUSE)
        os.dup2(kept, 2)
        raise
