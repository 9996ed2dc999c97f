"""Names of the files of a run: those of its own, and those that each shard has for itself.

A shard, the part "03-of-16" of a run, writes `cells.03-of-16.jsonl` where a whole run writes `cells.jsonl`, under a
lock of its own. So processes that measure one run, on one machine or on several, never write into one file, and
readers take all of them together.
"""

import re
from os.path import splitext
from pathlib import Path

PART = re.compile(r"\d+-of-\d+")


def named(file: str, part: str) -> str:
    """Return the name that a file of a run has for a part of it; "" is the whole run: `cells.jsonl`."""
    stem, ending = splitext(file)
    return f"{stem}.{part}{ending}" if part else file


def part_of(path: Path, file: str) -> str | None:
    """Return the part whose `file` this is, "" for the whole run's; None where it is another file."""
    if path.name == file:
        return ""
    found = PART.search(path.name)
    return found[0] if found and path.name == named(file, found[0]) else None


def parts_with(folder: Path, file: str) -> list[str]:
    """Return the parts of a run that have a `file`, in the order in which they are read: the whole run's, then by name.

    An empty list where there is no folder.
    """
    stem = file.partition(".")[0]
    found = (part_of(path, file) for path in folder.glob(f"{stem}*"))
    return sorted(part for part in found if part is not None)
