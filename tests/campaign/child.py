"""A command in a process of its own, forked from this one, so that it starts at once."""

import faulthandler
import os
import resource
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ssmax_eval.cli.main import main

HANGS = 90
"""Seconds of the processor after which a command counts as one that hangs; they do not pass on a busy machine."""
WAITS = 900
"""Seconds of the clock after which it does."""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Exit status; -9 for one that was killed."""
    said: str
    """What it wrote to either stream."""

    @property
    def clean(self) -> bool:
        """Whether it worked, or said in one line what is wrong."""
        last = self.said.strip().splitlines()[-1:] or [""]
        refused = self.code == 2 and "Error: " in last[0]
        return "Traceback" not in self.said and (self.code == 0 or refused)


def command(
    arguments: list[str], log: Path, *, kill_after: float | None = None, largest_file: int | None = None
) -> Ended:
    """Run a command of ssmax-eval; kill it after some seconds, or let no file grow beyond so many bytes."""
    pid = os.fork()
    if pid == 0:
        _become(arguments, log, largest_file)
    started, killed = time.monotonic(), False
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code, said = os.waitstatus_to_exitcode(status), log.read_text(errors="replace")
            return Ended(124, f"it hangs\n{said}") if code == -signal.SIGKILL and not killed else Ended(code, said)
        if kill_after is not None and time.monotonic() - started > kill_after:
            os.kill(pid, signal.SIGKILL)
            kill_after, killed = None, True
        if time.monotonic() - started > WAITS + 5:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _become(arguments: list[str], log: Path, largest_file: int | None) -> None:
    code = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        faulthandler.dump_traceback_later(WAITS)  # where it waits
        faulthandler.register(signal.SIGXCPU)  # where it goes on forever
        resource.setrlimit(resource.RLIMIT_CPU, (HANGS, HANGS + 5))
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        main(arguments, standalone_mode=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # the log may be at the limit, too
                stream.flush()
        os._exit(code)
