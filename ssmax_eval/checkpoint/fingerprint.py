"""What identifies a checkpoint: its content, not its path."""

import hashlib
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from ssmax_eval.errors import UserError
from ssmax_eval.files import cache_folder, write_whole

PIECE = 1 << 22
"""Bytes that are read at a time."""
REMEMBERED = 1 << 26
"""Digests of files from this size on (64 MiB, a twentieth of a second) are kept in the cache."""
RECENT = 10
"""Seconds in which a file may change twice without a sign of it in its times; its digest is not kept until then."""
THREADS = 8
"""Files that are hashed at once."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's size and content.

    That of a large file is looked up in the cache, by the file's path, size, times and inode.
    """
    about = path.stat()
    if about.st_size < REMEMBERED:
        return _hashed(path, about.st_size)
    changed = (about.st_mtime_ns, about.st_ctime_ns)  # the second cannot be set by hand
    key = repr((str(path.resolve()), about.st_size, changed, about.st_dev, about.st_ino))
    known = cache_folder() / "digests" / hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    try:
        if len(digest := known.read_text(encoding="utf-8").strip()) == 64:
            return digest
    except (OSError, ValueError):
        pass  # it is not there yet, or damaged
    digest = _hashed(path, about.st_size)
    if time.time_ns() - max(changed) > RECENT * 10**9:
        with suppress(UserError):  # the cache only saves time
            write_whole(known, f"{digest}\n")
    return digest


def folder_digest(folder: Path) -> str:
    """Return one digest of what decides a checkpoint's numbers: weights, config, tokenizer, its own code."""
    suffixes = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt", ".py"}
    ignored = {"generation_config.json", "training.json"}
    return _digest(sorted(p for p in folder.iterdir() if p.suffix in suffixes and p.name not in ignored), folder)


def code_digest(folder: Path) -> str:
    """Return a digest of all Python files in a checkpoint's folder, and in the folders inside it."""
    return _digest(sorted(path for path in folder.rglob("*.py") if path.is_file()), folder)[:16]


def _digest(paths: Iterable[Path], folder: Path) -> str:
    """One digest of the names and contents of files."""
    digest, files = hashlib.sha256(), [path for path in paths if path.is_file()]
    with ThreadPoolExecutor(THREADS) as pool:  # hashing leaves the interpreter to the other threads
        for path, content in zip(files, pool.map(file_digest, files), strict=True):
            digest.update(f"{path.relative_to(folder)} {content}\n".encode())
    return digest.hexdigest()


def _hashed(path: Path, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
