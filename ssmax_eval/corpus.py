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
from ssmax_eval.files import expanded, read_whole

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

    UserError for a file that is missing, empty, or not UTF-8, and for a JSONL line whose "text" is not a string.
    """
    if not paths:
        return list(_topics())
    texts: list[Text] = []
    for given in paths:
        path = expanded(given)
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


def text_digest(text: str) -> str:
    """Return twelve hexadecimal digits that tell a text from others: what two cells must share to be compared."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


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
    if not path.is_file():  # a pipe would wait for its writer, and give its text only once
        raise UserError(f"{str(path)!r} is not a file; save the text in one")
    try:
        content = read_whole(path, "text").decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{str(path)!r} is not UTF-8 text: {error}") from None
    if not content.strip():
        raise UserError(f"{str(path)!r} is empty")
    if path.suffix != ".jsonl":
        return [Text(path.stem, content)]
    # `splitlines` would also split at U+2028 and the like, which JSON allows inside a string.
    lines = enumerate(content.split("\n"), start=1)
    return [Text(f"{path.stem}:{number}", _text_of(line, path, number)) for number, line in lines if line.strip()]


def _text_of(line: str, path: Path, number: int) -> str:
    """The text in a line of JSONL. UserError, which names the line, where it holds none."""
    place = f"{str(path)!r}, line {number},"
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        raise UserError(f'{place} must be a JSON object with a "text"') from None
    if not isinstance(text, str):
        raise UserError(f'{place} must have a string as its "text"; got {json.dumps(text)[:40]}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{place} holds half of a character, which is not valid text: {error.reason}") from None
    return text


SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+|\n\s*\n")
"""Where a sentence or paragraph ends, the white space after it included."""
