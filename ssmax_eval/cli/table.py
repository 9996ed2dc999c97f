"""A table for a terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[object]], indent: str = "") -> str:
    """Return rows of equally many columns as lines: numbers to the right, all else to the left."""
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [all(text.isdecimal() or text == "?" for text in column[1:]) for column in zip(*texts, strict=True)]
    lines = (
        "  ".join(t.rjust(w) if r else t.ljust(w) for t, w, r in zip(line, widths, right, strict=True))
        for line in texts
    )
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)
