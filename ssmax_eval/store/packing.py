"""`cells.pack`: the cells of a finished run in one compact file, without losing a digit.

    ssmax-eval packed cells 1 CRC       "1" is the format, CRC the CRC-32 of all bytes after this line
    {"records": N, "columns": [...]}    one line of JSON: the size of each part below
    records                             lines as in cells.jsonl, without checksums, compressed as one .xz
    planes                              of each column, as `decimals.py` packs them

A column is all numbers of one name, over all cells; in a record `{"packed": N}` stands for the next N of them.
"""

import json
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.files import read_whole, write_whole
from ssmax_eval.measurement import Cell
from ssmax_eval.store.decimals import Packed, pack_column, unpack_column
from ssmax_eval.store.lines import CELLS_FILE, SESSIONS_FILE, Stored, read_sessions, sealed, stored_cell, stored_cells
from ssmax_eval.store.lock import locked
from ssmax_eval.store.parts import named, parts_with

PACKED_FILE = "cells.pack"
MAGIC, VERSION = "ssmax-eval packed cells", 1


def all_cells(folder: Path) -> dict[Cell, Stored]:
    """Return what a run has measured, by cell: first what is packed, then its lines, then those of shards by name.

    Of a cell that is there more than once, a finished measurement counts before a failed one, and of two alike the
    last in this order. A damaged line is named in a warning and left out. UserError where the packed file is damaged.
    """
    files = [folder / named(CELLS_FILE, part) for part in parts_with(folder, CELLS_FILE)]
    lines = [one for file in files for one in stored_cells(file)]  # first: `pack` may remove them in the meantime
    packed, cells = folder / PACKED_FILE, dict[Cell, Stored]()
    for one in [*(_read_packed(packed) if packed.exists() else ()), *lines]:
        cell = one.measurement.cell
        if cell not in cells or one.measurement.error is None or cells[cell].measurement.error is not None:
            cells[cell] = one
    return cells


def pack(folder: Path) -> Path:
    """Put all cells of a run into its packed file, and remove their lines; return the file.

    It is read back and compared, digit by digit, before any line is removed. Damaged lines go, after a warning. What
    shards have recorded of their sessions goes into the run's one file. The run can go on afterwards. UserError when
    another process is writing the run, or a shard of it.
    """
    with ExitStack() as held:
        parts = {"", *parts_with(folder, CELLS_FILE), *parts_with(folder, SESSIONS_FILE)}
        for part in sorted(parts):
            held.enter_context(locked(folder, part))
        records = [one.record for one in all_cells(folder).values()]
        content = packed_records(records)
        if [json.dumps(record) for record in unpacked_records(content)] != [json.dumps(record) for record in records]:
            raise AssertionError(f"{folder} does not survive packing; its lines are kept")
        path = write_whole(folder / PACKED_FILE, content)
        if parts != {""}:
            sessions = [sealed(json.dumps(entry)) + "\n" for entry in read_sessions(folder)]
            write_whole(folder / SESSIONS_FILE, "".join(sessions))
        for part in parts:
            (folder / named(CELLS_FILE, part)).unlink(missing_ok=True)
            if part:
                (folder / named(SESSIONS_FILE, part)).unlink(missing_ok=True)
    return path


def packed_records(records: Iterable[dict[str, Any]]) -> bytes:
    """Return the content of a packed file that holds these records."""
    records = list(records)
    columns: dict[str, list[float]] = {}
    for record in records:
        for name, column in record.get("rows", {}).items():
            if _is_floats(column):
                columns.setdefault(name, []).extend(column)
    packed = {name: found for name, column in columns.items() if (found := pack_column(column)) is not None}
    lines = "".join(json.dumps(_without(record, packed), separators=(",", ":")) + "\n" for record in records)
    parts = [lzma.compress(lines.encode(), preset=9 | lzma.PRESET_EXTREME)]
    described = []
    for name, (least, planes) in packed.items():
        described.append({"name": name, "least": least, "planes": [len(plane) for plane in planes]})
        parts += planes
    header = json.dumps({"records": len(parts[0]), "columns": described}, separators=(",", ":"))
    body = header.encode() + b"\n" + b"".join(parts)
    return f"{MAGIC} {VERSION} {zlib.crc32(body):08x}\n".encode() + body


def unpacked_records(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the records of a packed file's content, as JSON gave them. ValueError where it is damaged."""
    first, _, body = content.partition(b"\n")
    magic, _, rest = first.decode("ascii", "replace").rpartition(" ")
    if magic != f"{MAGIC} {VERSION}" or rest != f"{zlib.crc32(body):08x}":
        raise ValueError("its checksum is wrong")
    header, _, parts = body.partition(b"\n")
    sizes = json.loads(header)
    records, at = parts[: sizes["records"]], sizes["records"]
    columns: dict[str, Iterator[float]] = {}
    for column in sizes["columns"]:
        planes = []
        for size in column["planes"]:
            planes.append(parts[at : at + size])
            at += size
        columns[column["name"]] = iter(unpack_column(Packed(column["least"], planes)))
    for line in lzma.decompress(records).splitlines():
        record: dict[str, Any] = json.loads(line)
        for name, column in record.get("rows", {}).items():
            if isinstance(column, dict) and "packed" in column:
                record["rows"][name] = [next(columns[name]) for _ in range(column["packed"])]
        yield record


def _read_packed(path: Path) -> Iterator[Stored]:
    content = read_whole(path)
    version = content.partition(b"\n")[0].decode("ascii", "replace").removeprefix(f"{MAGIC} ").partition(" ")[0]
    if version.isdigit() and int(version) > VERSION:
        raise UserError(
            f"{str(path)!r} was written by a newer ssmax-eval (format {version}; this one reads up to {VERSION}); "
            "upgrade it"
        )
    try:
        yield from [stored_cell(record) for record in unpacked_records(content)]
    except (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError, lzma.LZMAError) as error:
        # What a content of another shape, with a checksum that is right, can raise.
        raise UserError(f"{str(path)!r} is damaged: {error}; restore it, or delete it to measure again") from None


def _is_floats(column: Any) -> bool:
    return isinstance(column, list) and set(map(type, column)) == {float}


def _without(record: dict[str, Any], packed: dict[str, Packed]) -> dict[str, Any]:
    """Return the record with counts in the place of packed columns."""
    rows = {
        name: {"packed": len(column)} if name in packed and _is_floats(column) else column
        for name, column in record.get("rows", {}).items()
    }
    return {**record, "rows": rows} if "rows" in record else record
