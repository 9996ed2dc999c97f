"""Text to measure on: a user's own, or what every Python carries."""

import hashlib
import json
import os
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from ssmax_eval.errors import UserError, shown
from ssmax_eval.files import read_whole

BUILT_IN = "pydoc_data.topics"
"""Name of the built-in text: the language reference that Python's `help()` shows, about 113 000 tokens."""

MOST_FILES = 100_000
"""Files, and folders, that a folder of texts may hold."""


@dataclass(frozen=True)
class Text:
    """One continuous text."""

    name: str
    content: str


def read_texts(paths: Sequence[str] = ()) -> list[Text]:
    """Read the texts in `paths`: text files, folders of them, JSONL with a "text" field. None: the built-in text.

    UserError for a file that is missing, empty, or not UTF-8, and for a JSONL line without a text.
    """
    if not paths:
        return list(_topics())
    texts: list[Text] = []
    for given in paths:
        path = Path(given).expanduser()
        if not given or not os.path.exists(path):  # False also for a name that no system takes
            raise UserError(f"no such text: {shown(given)}")
        files = _files(path) if path.is_dir() else [path]
        if not files:
            raise UserError(f"no *.txt, *.md or *.jsonl in {given!r}")
        for file in files:
            texts += _read(file)
    return texts


def _files(folder: Path) -> list[Path]:
    """The text files in a folder and below it. UserError for a folder of too many."""
    there = list(islice(folder.rglob("*"), MOST_FILES + 1))
    if len(there) > MOST_FILES:
        raise UserError(f"{str(folder)!r} holds more than {MOST_FILES:,} files; give a smaller folder")
    return sorted(path for path in there if path.suffix in (".txt", ".md", ".jsonl"))


def digest(texts: Sequence[Text]) -> str:
    """Return a digest of the texts' content. (The built-in text differs between versions of Python.)"""
    sha = hashlib.sha256()
    for text in texts:
        sha.update(hashlib.sha256(text.content.encode()).digest())
    return sha.hexdigest()[:16]


def filler(texts: Sequence[Text]) -> str:
    """Join all texts into one, for haystacks."""
    return "\n\n".join(text.content.strip() for text in texts)


def shuffled(texts: Sequence[Text], seed: int) -> list[Text]:
    """Return the same texts in an order drawn from the seed."""
    order = list(texts)
    random.Random(seed).shuffle(order)
    return order


@lru_cache
def _topics() -> tuple[Text, ...]:
    from pydoc_data.topics import topics

    return tuple(Text(name, content.strip()) for name, content in sorted(topics.items()))


def _read(path: Path) -> list[Text]:
    try:
        content = read_whole(path, "text").decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{str(path)!r} is not UTF-8 text: {error}") from None
    if path.suffix != ".jsonl":
        if not content.strip():
            raise UserError(f"{str(path)!r} is empty")
        return [Text(path.stem, content)]
    texts = []
    for number, line in enumerate(content.split("\n"), start=1):
        if line.strip():
            try:
                record = json.loads(line)
                texts.append(Text(f"{path.stem}:{number}", str(record["text"])))
            except (ValueError, KeyError, TypeError, RecursionError):
                raise UserError(f'{str(path)!r}, line {number}, must be a JSON object with a "text"') from None
    return texts


SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+|\n\s*\n")
"""Where a sentence or paragraph ends, the white space after it included."""
