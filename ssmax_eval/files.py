"""Files that are whole or absent, files of whole lines, and the folder of what is kept between runs."""

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssmax_eval.errors import UserError


def expanded(given: str | Path) -> Path:
    """Return a path with `~` as the home folder; one whose home is not known, or has no valid name, stays as it is."""
    try:
        return Path(given).expanduser()
    except (RuntimeError, ValueError):
        return Path(given)


def cache_folder() -> Path:
    """Return the folder that converted checkpoints and compiled kernels are kept in: `$SSMAX_EVAL_CACHE`, else the
    user's cache folder.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SSMAX_EVAL_CACHE") or Path(base) / "ssmax-eval")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write `path` into a UserError."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"cannot write {str(path)!r}: a folder of this path is a file") from None
    except shutil.Error as error:  # a folder's copy, with a reason for each file
        reason = str(error.args[0][0][-1]) if error.args and error.args[0] else "copying failed"
        raise UserError(f"cannot write {str(path)!r}: {reason}") from None
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from None


def read_whole(path: Path, what: str = "") -> bytes:
    """Return what a file holds. UserError, which says `what` the file is, where it cannot be read.

    A pipe, a device or a socket is refused before it is opened: reading one could wait, or go on, forever.
    """
    name = f"{what} {str(path)!r}".lstrip()
    try:
        refuse_special(path, what)
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise UserError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None


def refuse_special(path: Path, what: str = "") -> None:
    """Raise UserError for a pipe, a device or a socket; OSError where there is nothing."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        name = f"{what} {str(path)!r}".lstrip()
        raise UserError(f"cannot read {name}: it is a pipe, a device or a socket; give a file")


def write_whole(path: Path, content: bytes | str) -> Path:
    """Write a file that appears under its name only when it is complete, and return its path.

    The folder is made where it is missing. A reader sees the old content or the new, never a part. UserError where
    the file cannot be written.
    """
    with writing(path):
        # Two machines that share a disk may have a process of the same number.
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.unfinished")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a new folder to fill; it gets the name `target` at the end of the block, and only then.

    An error in the block leaves no folder. UserError where `target` holds something already, or cannot be written.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".unfinished", dir=target.parent))
    try:
        draft = scratch / target.name
        with writing(target):
            draft.mkdir()
        yield draft
        with writing(target):
            if target.exists() and (not target.is_dir() or any(target.iterdir())):
                raise UserError(f"{str(target)!r} holds something already; give a new folder")
            draft.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file; it is on the disk when this returns. UserError where it cannot be written."""
    with writing(path), path.open("ab") as file:
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file without their ends; none where there is no file.

    A last line that a kill cut short, so that it has no end, is left out. UserError where it cannot be read.
    """
    try:
        refuse_special(path)
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None


def drop_partial_line(path: Path) -> None:
    """Remove a last line that a kill cut short, so that the next line starts a line of its own."""
    if not path.exists():
        return
    with writing(path), path.open("rb+") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
