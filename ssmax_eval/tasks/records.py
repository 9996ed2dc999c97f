"""Records of a data file: JSONL, Parquet, or a data set of the hub."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError, shown
from ssmax_eval.files import expanded, read_whole, refuse_special

HUB = "hub:"
"""Begins the name of a data set: `hub:org/name`, `hub:org/name:split` or `hub:org/name:config:split`."""
SPLIT = "test"
"""The split that is read where none is named."""


def records(data: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield every record with its line, counted from 1. UserError for a file that cannot be read, naming the line."""
    if data.startswith(HUB):
        yield from enumerate(_hub(data), start=1)
        return
    path = expanded(data)
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), start=1)
    elif path.suffix in (".jsonl", ".json"):
        yield from _jsonl(path)
    else:
        raise UserError(f"data must be a *.jsonl or *.parquet, or hub:org/name; given {shown(data)}")


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        content = read_whole(path, "data").decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{str(path)!r} is not UTF-8 text: {error}") from None
    for number, line in enumerate(content.split("\n"), start=1):  # U+2028 may stand inside a string
        if line.strip():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(f"{str(path)!r}, line {number}, is not JSON: {error}") from None
            if not isinstance(record, dict):
                raise UserError(f"{str(path)!r}, line {number}, must be a JSON object; got {shown(record)}")
            yield number, record


def _parquet(path: Path) -> list[dict[str, Any]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError("reading Parquet needs pyarrow; try: pip install 'ssmax-eval[parquet]'") from None
    try:
        refuse_special(path, "data")
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except (OSError, ArrowException) as error:
        raise UserError(f"cannot read data {str(path)!r}: {' '.join(str(error).split())[:200]}") from None
    return rows


def _hub(data: str) -> Iterator[dict[str, Any]]:
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserError("a data set of the hub needs datasets; try: pip install 'ssmax-eval[datasets]'") from None
    name, *rest = data.removeprefix(HUB).split(":")
    config, split = (rest if len(rest) == 2 else [None, *rest, SPLIT])[:2]
    try:
        yield from load_dataset(name, config, split=split)
    except Exception as error:  # no hub, no such data set, no such split
        raise UserError(
            f"cannot load data {shown(data)}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from None
