"""The user's own attentions and tasks reach workers on other machines: their files travel, and are loaded there."""

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ssmax_eval.files import cache_folder, whole_folder
from ssmax_eval.user_code import PACKAGE, PREFIX, files_of, load_class, place_of


class OwnCode(NamedTuple):
    """Files of the user's own code, and how the driver has imported them."""

    files: dict[str, bytes]
    """Content by absolute path: all that the identity of the runs covers."""
    modules: dict[str, str]
    """Of the modules that were loaded from a file, a class by name of the module: `/a/mine.py:Mine`."""
    paths: list[str]
    """Where the driver looks for modules."""


def pack(classes: Iterable[type]) -> OwnCode:
    """Return the code of those classes that do not belong to this package."""
    own = [cls for cls in dict.fromkeys(classes) if cls.__module__.partition(".")[0] not in (PACKAGE, "__main__")]
    files = {file for cls in own for file in files_of(cls)}
    modules = {cls.__module__: place_of(cls) for cls in own if cls.__module__.startswith(PREFIX)}
    return OwnCode(
        {str(file): file.read_bytes() for file in sorted(files)}, modules, [str(Path(p).resolve()) for p in sys.path]
    )


def unpack(code: OwnCode) -> str:
    """Write the files into a folder of this machine's cache, make them importable, and return the folder.

    The folder holds each file at the path that it has on the driver's machine. Objects that were pickled there can be
    unpickled from then on.
    """
    if not code.files:
        return ""
    content = "\n".join(f"{path} {hashlib.sha256(held).hexdigest()}" for path, held in code.files.items())
    folder = cache_folder() / "own_code" / hashlib.sha256(content.encode()).hexdigest()[:16]
    if not folder.exists():
        with whole_folder(folder) as draft:
            for path, held in code.files.items():
                target = _inside(draft, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(held)
    sys.path += [str(inside) for path in code.paths if (inside := _inside(folder, path)).is_dir()]
    for name, place in code.modules.items():
        file, _, cls = place.rpartition(":")
        loaded = load_class(f"{_inside(folder, file)}:{cls}", object, "a worker")
        sys.modules[name] = sys.modules[loaded.__module__]
    return str(folder)


def _inside(folder: Path, path: str) -> Path:
    """Where a folder holds what has an absolute path elsewhere."""
    return folder / os.path.splitdrive(path)[1].lstrip("/\\")
