"""Classes and functions of the user's own, outside this package: load them, and tell whether their code has changed.

A class is identified by a digest of the file that defines it, of the local modules that this file imports, directly or
through others, and of the files of its base classes. Local are modules that lie beside the file, in its package, or in
a folder of `sys.path` that holds no installed packages. Files of data are covered where the code names them by one
string, relative to the code's own folder ("table.json"). Not covered are installed packages, and modules and data files
whose names are computed.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from ssmax_eval.errors import UserError, shown

PACKAGE = "ssmax_eval"
PREFIX = "ssmax_eval_user_"
"""Begins the names of modules that are loaded from a file, so that they hide no installed module."""

NAME = 200
"""Characters of the longest string that may name a file."""

_folders: list[str] = []
"""Folders of the files that were loaded; they stay at the end of `sys.path`, for imports inside functions."""
_seen: WeakKeyDictionary[type | FunctionType, str] = WeakKeyDictionary()
"""The digest of each class and function when it was first asked for."""
_own: set[Path] = set()
"""The Python files that those classes are made of."""


def load_class(place: str, base: type, what: str) -> Any:
    """Return the class at `path/to/file.py:Class` or `package.module:Class`, a subclass of `base`.

    A file is loaded anew each time, with the local modules that it imports. `what` names the kind of class in
    messages. UserError where there is no such class, or its code fails.
    """
    cls = _loaded(place, what, "Class")
    if not (isinstance(cls, type) and issubclass(cls, base)):
        module_name, _, class_name = place.rpartition(":")
        raise UserError(
            f"{class_name!r} in {module_name!r} must be a subclass of {base.__module__}.{base.__qualname__}"
        )
    digest(cls)
    return cls


def load_function(place: str, what: str) -> FunctionType:
    """Return the function at `path/to/file.py:function` or `package.module:function`; see `load_class`."""
    function = _loaded(place, what, "function")
    if not isinstance(function, FunctionType):
        module_name, _, name = place.rpartition(":")
        raise UserError(f"{name!r} in {module_name!r} must be a function, for {what}")
    digest(function)
    return function


def _loaded(place: str, what: str, kind: str) -> Any:
    """What a file or a module has by a name; None where it has nothing."""
    module_name, _, name = place.rpartition(":")
    if not module_name.strip("."):
        raise UserError(f"{what} takes file.py:{kind} or package.module:{kind}; given {shown(place)}")
    try:
        is_file = module_name.endswith(".py")
        module = _load_file(Path(module_name)) if is_file else importlib.import_module(module_name)
    except OSError as error:
        raise UserError(f"cannot read {module_name!r} for {what}: {error.strerror or error}") from None
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise UserError(f"cannot import {shown(module_name)} for {what}: {_where(error)}{error}") from None
    return getattr(module, name, None)


def place_of(cls: type) -> str:
    """Return what `load_class` finds the class by."""
    module = cls.__module__
    return f"{_file(cls) if module.startswith(PREFIX) or module == '__main__' else module}:{cls.__qualname__}"


def digest(cls: type | FunctionType) -> str:
    """Return a digest of the code that a class or function of the user's own is made of; see the head of this module.

    UserError where the class lies in no file (in a notebook, say), or the code has changed since this process first
    asked: what runs would then not be what is written.
    """
    files = files_of(cls)
    classes = cls.__mro__ if isinstance(cls, type) else ()
    parts = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    parts += [
        f"{parent.__qualname__} {vars(parent)['version']}"
        for parent in classes
        if _top(parent.__module__) == PACKAGE and "version" in vars(parent)
    ]
    now = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    if _seen.setdefault(cls, now) != now:
        raise UserError(f"the code of {cls.__qualname__!r} has changed since it was imported; start Python again")
    return now


def files_of(cls: type | FunctionType) -> set[Path]:
    """Return the files, of code and of data, that a class or function of the user's own is made of."""
    files = set(local_files(Path(_file(cls))))
    for parent in cls.__mro__[1:] if isinstance(cls, type) else ():
        file = getattr(sys.modules.get(parent.__module__), "__file__", None)
        if file and _top(parent.__module__) not in (PACKAGE, *sys.stdlib_module_names) and not _installed(Path(file)):
            files |= set(local_files(Path(file)))
    _own.update(files)
    return files | {data for file in files for data in _data_files(file)}


def failure(error: BaseException) -> str | None:
    """Say in one line where the code of a class that was loaded has raised an error; None for any other error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() in _own]
    if not own:
        return None
    said = " ".join(str(error).split())
    return f"{own[-1].filename}, line {own[-1].lineno}: {type(error).__name__}{f': {said}' * bool(said)}"


def local_files(file: Path) -> list[Path]:
    """Return a Python file and the local modules that it imports, directly or through others."""
    found: dict[Path, None] = {}
    todo = [file.resolve()]
    while todo:
        if (now := todo.pop()) not in found:
            found[now] = None
            todo += _imported(now)
    return list(found)


def _imported(file: Path) -> Iterator[Path]:
    """The local files that a file's import statements name."""
    root = file.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    paths = [Path(entry).resolve() for entry in sys.path if entry and entry not in _folders]
    bases = dict.fromkeys([file.parent, root, *(path for path in paths if not _installed(path))])
    for node in _nodes(file):
        if isinstance(node, ast.Import):
            names, places = [alias.name for alias in node.names], list(bases)
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}." if node.module else ""
            names = [node.module or "", *(f"{module}{alias.name}" for alias in node.names)]
            places = list(bases) if not node.level else [file.parents[node.level - 1]]
        elif (
            isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and _strings(node.args[:1])
        ):
            names, places = _strings(node.args[:1]), list(bases)
        else:
            continue
        for name in names:
            if _top(name) != PACKAGE:
                yield from _module_files(name, places)


def _data_files(file: Path) -> Iterator[Path]:
    """The files beside a Python file, or in folders there, that one of its strings names."""
    for text in _strings(_nodes(file)):
        if 0 < len(text) < NAME and text.isprintable() and (data := file.parent / text).is_file():
            yield data.resolve()


def _nodes(file: Path) -> list[ast.AST]:
    try:
        return list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):  # Python says so where the file is run
        return []


def _strings(nodes: Iterable[ast.AST]) -> list[str]:
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _called(node: ast.Call) -> str:
    """The last name of what is called."""
    return str(getattr(node.func, "attr", None) or getattr(node.func, "id", ""))


def _module_files(name: str, places: list[Path]) -> Iterator[Path]:
    """The files of a module and of the packages above it, in the first place that has any."""
    parts = name.split(".") if name else []
    for place in places:
        steps = [place.joinpath(*parts[:i]) for i in range(1, len(parts) + 1)]
        candidates = [file for step in steps for file in (step.with_suffix(".py"), step / "__init__.py")]
        candidates = candidates or [place / "__init__.py"]
        if files := [file.resolve() for file in candidates if file.is_file()]:
            yield from files
            return


def _load_file(path: Path) -> ModuleType:
    """Run a file as a module of its own; the modules beside it can be imported."""
    path = path.expanduser().resolve()
    if path.exists() and not path.is_file():
        raise OSError("it must be a file")
    path.read_bytes()  # says in its own words that there is no such file
    name = f"{PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{str(path)!r} must be a Python file")
    local = {_top_module(file) for file in local_files(path)} - {path.stem}
    beside = [file.relative_to(path.parent) for file in local_files(path) if file.is_relative_to(path.parent)]
    local |= {file.parts[0] for file in beside if len(file.parts) > 1}  # packages without an __init__.py
    local -= sys.stdlib_module_names
    for other, module in list(sys.modules.items()):
        if _top(other) in local and not _installed(Path(getattr(module, "__file__", None) or "")):
            del sys.modules[other]  # so that helpers are read anew, and not those of another folder
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a cache cannot tell edits within a second
    # Without the folders of other files, whose packages may have the same names.
    before, sys.path[:] = list(sys.path), [str(path.parent), *(entry for entry in sys.path if entry not in _folders)]
    try:
        importlib.invalidate_caches()
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
        sys.path[:] = before
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
            _folders.append(str(path.parent))
    return module


def _top_module(file: Path) -> str:
    """The name of the outermost package that a file belongs to, or of the module that it is."""
    while (file.parent / "__init__.py").is_file():
        file = file.parent
    return file.stem


def _file(cls: type | FunctionType) -> str:
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None:
        raise UserError(
            f"{cls.__qualname__!r} is defined in no file; save it in a .py file, whose content identifies the run"
        )
    return str(file)


def _where(error: BaseException) -> str:
    """The file and line in which the user's code failed, and the kind of error."""
    if isinstance(error, SyntaxError | ModuleNotFoundError):
        return ""
    last = traceback.extract_tb(error.__traceback__)[-1]
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    frame = next((f for f in reversed(own) if not _installed(Path(f.filename)) and f.filename != __file__), last)
    return f"{frame.filename}, line {frame.lineno}: {type(error).__name__}: "


def _installed(path: Path) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    return any(part in ("site-packages", "dist-packages") for part in path.parts) or any(
        path.is_relative_to(Path(prefix).resolve() / "lib") for prefix in {sys.prefix, sys.base_prefix}
    )


def _top(module: str) -> str:
    return module.partition(".")[0]
