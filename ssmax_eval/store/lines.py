"""Lines of files of cells and of sessions: sealed with a checksum when written, checked when read."""

import json
import logging
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ssmax_eval.files import whole_lines
from ssmax_eval.measurement import Measurement
from ssmax_eval.store.parts import named, parts_with
from ssmax_eval.store.upgrade import session_with_kind

CELLS_FILE, SESSIONS_FILE = "cells.jsonl", "sessions.jsonl"
SEAL = re.compile(rb',"crc":"([0-9a-f]{8})"\}$')

log = logging.getLogger(__name__)


class Stored(NamedTuple):
    """One finished cell."""

    measurement: Measurement
    record: dict[str, Any]
    """The same as JSON holds it, every digit as it was written."""


def sealed(line: str) -> str:
    """Return a JSON mapping on one line with the CRC-32 of its bytes as its last entry."""
    return f'{line[:-1]},"crc":"{zlib.crc32(line.encode()):08x}"}}'


def unsealed(line: bytes) -> bytes:
    """Return the line without its checksum. ValueError where that is wrong; lines of before have none."""
    match = SEAL.search(line)
    if match is None:
        return line
    content = line[: match.start()] + b"}"
    if zlib.crc32(content) != int(match[1], 16):
        raise ValueError("its checksum is wrong")
    return content


def stored_cell(record: dict[str, Any]) -> Stored:
    """Check one record. ValueError that says what is wrong with it."""
    return Stored(Measurement.from_record(record), record)


def stored_cells(path: Path) -> Iterator[Stored]:
    """Read the cells of a file, in order. A damaged line costs its cell, and a warning names it."""
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            yield stored_cell(_mapping(unsealed(line)))
        except ValueError as error:
            log.warning("%s, line %d is damaged; its cell counts as not measured: %s", path, number, error)


def read_sessions(folder: Path) -> list[dict[str, Any]]:
    """Return what was recorded of the processes that measured a run, its shards too; each entry has a `kind`.

    The entries of a file stand in its order; those of several are merged by the time at which their session started.
    """
    entries: list[tuple[str, dict[str, Any]]] = []
    for part in parts_with(folder, SESSIONS_FILE):
        latest = ""
        for entry in _sessions(folder / named(SESSIONS_FILE, part)):
            latest = max(latest, str(entry.get("started", "")))
            entries.append((latest, entry))
    return [entry for _, entry in sorted(entries, key=lambda one: one[0])]


def _sessions(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(whole_lines(path), start=1):
        try:
            yield session_with_kind(_mapping(unsealed(line)))
        except ValueError as error:
            log.warning("%s, line %d is damaged and left out: %s", path, number, error)


def _mapping(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is too deep") from None
    if not isinstance(record, dict):
        raise ValueError(f"it must be a mapping; got {type(record).__name__}")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
