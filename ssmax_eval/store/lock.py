"""One process at a time writes a run, or one part of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ssmax_eval.errors import UserError
from ssmax_eval.store.parts import named

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path, part: str = "") -> Iterator[None]:
    """Hold a part of a run, whose folder is made where it is missing; without a part, the files of the whole run.

    UserError when another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / named(LOCK_FILE, part), timeout=0)
        lock.acquire()
    except Timeout:
        what = f"shard {part} of run {folder.name!r}" if part else f"run {folder.name!r}"
        raise UserError(f"{what} is being written by another process; wait for it, or give another --output") from None
    except OSError as error:
        raise UserError(f"cannot write results to {str(folder)!r}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
