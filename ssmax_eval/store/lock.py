"""One process at a time writes a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ssmax_eval.errors import UserError

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, made where it is missing. UserError when another process does, or it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK_FILE, timeout=0)
        lock.acquire()
    except Timeout:
        raise UserError(
            f"run {folder.name!r} is being written by another process; wait for it, or give another --output"
        ) from None
    except OSError as error:
        raise UserError(f"cannot write results to {str(folder)!r}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
