"""Tables as bytes, in the formats that others read."""

from __future__ import annotations

import re
from importlib.util import find_spec
from io import BytesIO

import pandas as pd

from ssmax_eval.errors import harmless

LINKS = {"!": "&#33;", "]": "&#93;", "://": "&#58;//"}
"""What would begin an image, a link or an address in Markdown, as text."""
NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( \[.*\])?", re.IGNORECASE)
"""A number, with or without its interval, which no spreadsheet evaluates."""

# What LaTeX's default fonts lack, or would read as something else.
LATEX = {"–": "--", "≥": r"$\ge$", "<": r"$<$", "×": r"$\times$", "·": r"$\cdot$", "−": "$-$", "…": r"\dots{}"}


def markdown(table: pd.DataFrame) -> str:
    """Return a table as GitHub Markdown, numbers to the right and shortened for reading."""
    rows = [list(map(str, table.columns)), [":--" if text else "--:" for text in prose(table)]]
    rows += [[escaped(shown(value)) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def prose(table: pd.DataFrame) -> list[bool]:
    """Say of each column whether it reads as text, and not as numbers with or without their intervals."""
    return [not table[name].map(shown).str.match(r"$|–|[<≥] |[−-]?[\d.]+(e-?\d+)?\b(?![\w:-])").all() for name in table]


def escaped(text: str) -> str:
    """Make text safe inside Markdown: no cell ends, no line breaks, no HTML, no links, no images."""
    plain = harmless(text).replace("|", r"\|").replace("<", "&lt;")
    return " ".join(re.sub(r"!(?=\[)|\](?=[(\[:])|://", lambda match: LINKS[match[0]], plain).split())


def csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV whose texts no spreadsheet takes for a formula: an apostrophe stands before those."""
    return table.map(_no_formula).to_csv(index=False).encode()


def _no_formula(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = harmless(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) and not NUMBER.fullmatch(text) else text


def latex(table: pd.DataFrame) -> str:
    """Return a table as LaTeX with booktabs rules; needs `\\usepackage{booktabs}`."""
    text = table.map(shown).to_latex(
        index=False, escape=True, column_format="".join("l" if text else "r" for text in prose(table))
    )
    for character, command in LATEX.items():
        text = text.replace(character, command)
    return text


def parquet(table: pd.DataFrame) -> bytes | None:
    """Return a table as Parquet, or None where pyarrow is not installed."""
    if find_spec("pyarrow") is None:
        return None
    buffer = BytesIO()
    table.astype(dict.fromkeys(table.columns[table.dtypes == "category"], "str")).to_parquet(buffer, index=False)
    return buffer.getvalue()


def shown(value: object) -> str:
    """Write one value of a table for reading: four significant digits, `–` for none."""
    if pd.isna(value):  # type: ignore[call-overload]
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.4g}"
    return harmless(str(value))
