"""The code of a user's own attention, as a checkpoint's folder carries it.

The file of the class lies beside the config, under its own name, with the local modules that it imports. What is local
is said in `user_code`; files that the code reads are not carried. The code runs only where the user trusts it.
"""

import inspect
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ssmax_eval.attention import ATTENTIONS, Attention, Rows, Shape
from ssmax_eval.errors import UserError
from ssmax_eval.files import write_whole
from ssmax_eval.user_code import PREFIX, digest, load_class, local_files
from ssmax_eval.user_code import _installed as installed


class OwnCode(NamedTuple):
    """The code of one class."""

    name: str
    """What a config names it by: `my_attention.py:Mine`."""
    digest: str
    """As in the identity of a run."""
    files: Mapping[str, bytes]
    """Content by path within the folder; the file of the class comes first."""

    def write(self, folder: Path) -> None:
        """Write the files into a folder. UserError where another file has the name of one of them."""
        for name, content in self.files.items():
            path = folder / name
            if path.exists() and path.read_bytes() != content:
                raise UserError(f"{str(folder)!r} holds another {name!r} already; give your own file another name")
            write_whole(path, content)


@dataclass(frozen=True)
class Untrusted(Attention):
    """Stands for the attention of a checkpoint whose code may not run: it fails when it is used, and not before."""

    message: str

    def resolve(self, shape: Shape) -> Attention:
        raise UserError(self.message)

    def weights(self, rows: Rows) -> Tensor:
        raise UserError(self.message)


def is_own(name: str) -> bool:
    """Whether a name in a config stands for a class in a file of the folder."""
    return name not in ATTENTIONS and ":" in name


def name_of(cls: type[Attention]) -> str:
    """Return the name that a config has for an attention: from the catalogue, or `my_attention.py:Mine`."""
    return ATTENTIONS.name_of(cls) or f"{Path(inspect.getfile(cls)).name}:{cls.__qualname__}"


def own_code(cls: type[Attention]) -> OwnCode | None:
    """Return the code of a user's own attention; None for one of this package.

    UserError where the code cannot be carried: a copy of it, in a folder of its own, must load and have all its parts.
    """
    if ATTENTIONS.name_of(cls) is not None:
        return None
    title = cls.__qualname__
    if cls.__module__ == "__main__":
        raise UserError(
            f"{title!r} is defined in the program that runs; put it in a file of its own and import it from there, "
            "so that a checkpoint can carry the file"
        )
    code = digest(cls)
    made = OwnCode(name_of(cls), code, _files(cls))
    with tempfile.TemporaryDirectory() as folder, _imports_apart():
        made.write(Path(folder))
        try:
            copy = load_class(f"{folder}/{made.name}", Attention, "a copy of it")
        except UserError as error:
            raise UserError(f"a checkpoint cannot carry the code of {title!r}: {error}") from None
        if digest(copy) != made.digest:
            raise UserError(f"a checkpoint cannot carry the code of {title!r}: a copy of it lacks some of its modules")
    return made


def class_in(name: str, folder: Path) -> type[Attention]:
    """Run the file that a folder carries, and return the class `name`. UserError where it is not there."""
    file = name.rpartition(":")[0]
    if Path(file).name != file or not file.endswith(".py"):
        raise UserError(f"the config in {str(folder)!r} names {name!r}, which must be a file beside it: file.py:Class")
    found: type[Attention] = load_class(f"{folder / name}", Attention, "the attention of this checkpoint")
    return found


def files_of(name: str, folder: Path) -> list[Path]:
    """Return the files that a folder carries of the class `name`; they are read, and not run."""
    file = (folder / name.rpartition(":")[0]).resolve()
    return [path for path in local_files(file) if path.is_relative_to(folder.resolve())] if file.is_file() else []


@contextmanager
def _imports_apart() -> Iterator[None]:
    """Hide the user's own folders inside the block, and forget afterwards what was imported there."""
    modules, paths = dict(sys.modules), list(sys.path)
    sys.path[:] = [path for path in paths if path and installed(Path(path))]
    try:
        yield
    finally:
        sys.path[:] = paths
        for name in [name for name in sys.modules if name not in modules]:
            if name.startswith(PREFIX):
                del sys.modules[name]
        sys.modules.update(modules)


def _files(cls: type) -> dict[str, bytes]:
    """The files of a class by where they lie in a folder, so that the same imports find them there."""
    file = Path(inspect.getfile(cls)).resolve()
    base, searched = _above_packages(file), {Path(entry).resolve() for entry in sys.path if entry}
    places = {file.name: file}
    for other in local_files(file):
        if other != file:
            root = _above_packages(other)
            root = base if root not in searched and other.is_relative_to(base) else root
            places[other.relative_to(root).as_posix()] = other
    return {name: path.read_bytes() for name, path in places.items()}


def _above_packages(file: Path) -> Path:
    """The folder from which a file is imported: above all packages that it belongs to."""
    while (file.parent / "__init__.py").is_file():
        file = file.parent
    return file.parent
