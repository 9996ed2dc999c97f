"""`run.json`: what was run, and the version of the format that it is written in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.files import read_whole, write_whole
from ssmax_eval.measurement import Quantity
from ssmax_eval.store.upgrade import upgraded

RUN_FILE = "run.json"
TEXTS = ("checkpoint", "attention", "task", "dtype", "rope")
"""Columns that are texts."""
FORMAT = 1
"""Version of what is written. Raised when an older reader would misread it; `upgrade.py` then brings old runs up."""


def read_description(folder: Path) -> dict[str, Any]:
    """Return what a run was, as the format of today has it: `format`, `columns`, `quantities` and `identity`.

    UserError where the file cannot be read, is no description, or was written by a newer version.
    """
    path = folder / RUN_FILE
    try:
        run = json.loads(read_whole(path).decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{str(path)!r} is not readable as JSON: {error}") from None
    if not isinstance(run, dict):
        raise UserError(f"{str(path)!r} does not describe a run: it must be a mapping; got {type(run).__name__}")
    version = run.get("format", 0)
    if type(version) is not int or version < 0:
        raise UserError(f"{str(path)!r} does not describe a run: its format must be a whole number; got {version!r}")
    if version > FORMAT:
        raise UserError(
            f"{str(path)!r} was written by a newer ssmax-eval (format {version}; this one reads up to {FORMAT}); "
            "upgrade it"
        )
    if not _is_description(run):
        raise UserError(f"{str(path)!r} does not describe a run: it must hold columns, quantities and identity")
    return upgraded(run)


def _is_description(run: Mapping[str, Any]) -> bool:
    """Whether the parts are there and of their types; runs of format 0 have no quantities."""
    columns, quantities = run.get("columns"), run.get("quantities", [])
    return (
        isinstance(columns, dict)
        and isinstance(columns.get("task"), str)
        and all(value is None or isinstance(value, str | int | float) for value in columns.values())
        and isinstance(columns.get("train_length", 0), int | type(None))
        and isinstance(run.get("notes", []), list)
        and all(isinstance(note, str) for note in run.get("notes", []))
        and isinstance(run.get("identity"), dict)
        and isinstance(quantities, list)
        and all(
            Quantity.is_record(one) and one["name"] not in {"run", "status", "error", *columns} for one in quantities
        )
        and all(isinstance(columns.get(name, ""), str) for name in TEXTS)
    )


def claim(folder: Path, run: Mapping[str, Any]) -> None:
    """Write the description of a new run, or check that the run in the folder is this one.

    A file that is lost, empty or no JSON is written again: the folder's name says already which run it is. UserError
    when the folder holds another run.
    """
    path = folder / RUN_FILE
    if not path.exists() or (path.is_file() and not _is_json(path)):
        write_whole(path, _lines({"format": FORMAT, **run}))
    elif read_description(folder)["identity"] != json.loads(json.dumps(run["identity"])):
        raise UserError(f"{str(folder)!r} holds another run; give another --output")


def _is_json(path: Path) -> bool:
    """Whether a file holds a mapping in JSON."""
    try:
        return isinstance(json.loads(read_whole(path)), dict)
    except (ValueError, RecursionError):
        return False


def _lines(run: Mapping[str, Any]) -> str:
    """Return a description as JSON with a line for each entry of its parts: short, and still easy to read."""
    parts = []
    for name, part in run.items():
        if isinstance(part, dict):
            inner = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in part.items()]
        elif isinstance(part, list):
            inner = [json.dumps(value) for value in part]
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(part)}")
            continue
        first, last = "{}" if isinstance(part, dict) else "[]"
        text = "".join(f"\n  {line}," for line in inner).removesuffix(",")
        parts.append(f"{json.dumps(name)}: {first}{text}\n {last}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"
