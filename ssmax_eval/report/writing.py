"""A report on disk: figures, tables, one Markdown and one HTML page; each file whole or absent."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.style
import pandas as pd
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from ssmax_eval.errors import UserError
from ssmax_eval.files import write_whole
from ssmax_eval.report import axes, export
from ssmax_eval.report.content import Section
from ssmax_eval.report.labels import renamed
from ssmax_eval.report.provenance import model_index
from ssmax_eval.report.sections import sections
from ssmax_eval.suites import Suite

STYLES = ("single", "double", "slides")
UNDATED: dict[str, dict[str, None]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
"""Metadata that would make the same results give different files."""


def write_report(
    frame: pd.DataFrame,
    directory: str | os.PathLike[str],
    *,
    title: str = "Long-context evaluation",
    style: str = "double",
    baseline: str | None = None,
    label: Mapping[str, str] | None = None,
    pool: str | None = None,
    multiples: bool = False,
    provenance: Mapping[str, Mapping[str, Any]] | None = None,
    suites: Sequence[str | Suite] = (),
) -> list[Path]:
    """Write the report of these results into `directory` and return the files, the pages first.

    `frame` is results as from `read_results`; `style` is `single`, `double` or `slides`; `baseline` is the
    series or attention that the others are compared with; `label` and `pool` name and pool checkpoints, as
    `labels.renamed` says; `multiples` writes lengths as multiples of the training length on axes; `provenance` holds
    what is on record for each run name; `suites` are those of the user's own, by their files.
    Writes `report.html` (self-contained), `report.md`, `model-index.yaml`, `figures/*.png` and `*.pdf`, and
    `tables/*.csv`, with `*.tex` for those meant to be read and `*.parquet` where pyarrow is installed. Each
    file appears under its name only when it is complete. Raises UserError when there is nothing to report or
    the directory cannot be written.
    """
    folder = Path(directory)
    if style not in STYLES:
        raise UserError(f"unknown style '{style}'; known: {', '.join(STYLES)}")
    frame = renamed(frame, label, pool)
    with axes.in_multiples(frame, multiples), matplotlib.style.context(f"ssmax_eval.report.styles.{style}"):
        parts = sections(frame, baseline=baseline, provenance=provenance, suites=suites)
        files: dict[str, bytes | None] = {
            "report.html": _page(parts, title).encode(),
            "report.md": _markdown(parts, title).encode(),
            "model-index.yaml": model_index(frame).encode(),
        }
        for part in parts:
            for picture in part.pictures:
                for kind in ("png", "pdf"):
                    files[f"figures/{picture.name}.{kind}"] = render(picture.figure, kind)
            for table in part.tables:
                files[f"tables/{table.name}.csv"] = export.csv(table.data)
                files[f"tables/{table.name}.parquet"] = export.parquet(table.data)
                files[f"tables/{table.name}.tex"] = None if table.folded else export.latex(table.data).encode()
    return [write_whole(folder / name, content) for name, content in files.items() if content is not None]


def render(figure: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of a `png`, `pdf` or `svg` file, the same for the same figure."""
    if figure.get_layout_engine() is not None:
        # The layout costs more than the drawing; once found, it holds for every kind of file.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, metadata=UNDATED[kind])
    return buffer.getvalue()


def _page(parts: list[Section], title: str) -> str:
    environment = Environment(
        loader=PackageLoader("ssmax_eval.report", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["inline"] = lambda figure: b64encode(render(figure, "svg")).decode()
    environment.filters["prose"] = export.prose
    # A value may stand above its interval, but an interval stays in one piece.
    environment.filters["unbroken"] = lambda text: re.sub(
        r"[(\[].*?[)\]]", lambda part: part[0].replace(" ", "\xa0"), text
    )
    environment.filters["shown"] = export.shown
    return environment.get_template("page.html.jinja").render(sections=parts, title=title)


def _markdown(parts: list[Section], title: str) -> str:
    lines = [f"# {export.escaped(title)}", ""]
    for part in parts:
        lines += [f"## {export.escaped(part.heading)}", "", *(f"{export.escaped(text)}\n" for text in part.text)]
        for picture in part.pictures:
            lines += [
                f"![{export.escaped(picture.caption)}](figures/{picture.name}.png)",
                "",
                export.escaped(picture.caption),
                "",
            ]
        for table in part.tables:
            lines += [f"{export.escaped(table.caption)} ([CSV](tables/{table.name}.csv))", ""]
            if not table.folded:
                lines += [export.markdown(table.data), ""]
    return "\n".join(lines)
