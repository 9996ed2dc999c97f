"""The page and its figures as files."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import matplotlib
import matplotlib.style
from matplotlib.figure import Figure
from PIL import Image

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.files import write_whole
from ssmax_eval.report.writing import render
from ssmax_eval.store import read_results
from study import figures, head_figures, training_figures
from study.claims import read_claims
from study.families import PLAIN, RAISED, is_aside
from study.measures import Evidence
from study.page import page
from study.rows import of_families
from study.trained import read_trained

INCHES, DOTS = 8.0, 200
"""Width of every figure and dots per inch of its PNG: 1600 pixels."""
COLOURS = 256
"""Colours of a PNG. The figures have some lines and shades; more colours make the files twice as large."""


def write_page(
    store: str | os.PathLike[str],
    checkpoints: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    pdf: bool = False,
) -> list[Path]:
    """Write README.md and figures/*.png into `output`, with `pdf` also figures/*.pdf; return the files, the page first.

    `store` is a folder of runs of the checkpoints whose trainings are in the folder `checkpoints`. Claims without runs
    are "not measured", figures without runs are left out. UserError when there are no runs or no trainings.
    """
    folder, trained = Path(output), read_trained(checkpoints)
    evidence = Evidence(of_families(read_results(store), trained), trained)
    claims = read_claims(evidence.train_length)
    drawn: dict[str, bytes] = {}
    with matplotlib.style.context("ssmax_eval.report.styles.double"):
        matplotlib.rcParams.update({"figure.figsize": (INCHES, INCHES / 2), "savefig.dpi": DOTS})
        names = []
        for name, draw in _drawings(evidence).items():
            try:
                figure = draw()
            except NothingMeasured:
                continue
            names.append(name)
            drawn[f"figures/{name}.png"] = _few_colours(render(figure, "png"))
            if pdf:
                drawn[f"figures/{name}.pdf"] = render(figure, "pdf")
    files = {"README.md": page(evidence, claims, names).encode(), **drawn}
    return [write_whole(folder / name, content) for name, content in files.items()]


def _drawings(evidence: Evidence) -> dict[str, Callable[[], Figure]]:
    """How each figure of `captions.CAPTIONS` is drawn; it raises NothingMeasured where there is nothing to draw."""
    rows = evidence.rows[~evidence.rows["family"].astype("str").map(is_aside)]
    trained = [t for t in evidence.trained if not is_aside(t.family)]
    return {
        "overview": partial(figures.overview, rows, RAISED),
        "overview-plain-rope": partial(figures.overview, rows, PLAIN),
        "loss-by-length": partial(figures.loss_by_length, rows),
        "retrieval-by-length": partial(figures.retrieval_by_length, rows),
        "needle-by-head": partial(head_figures.needle_by_head, rows),
        "needle-by-outcome": partial(head_figures.needle_by_outcome, rows),
        "learned-factors": partial(training_figures.learned_factors, trained),
        "free-factors": partial(training_figures.free_factors, evidence.trained),
        "training": partial(training_figures.training_curves, trained),
    }


def _few_colours(png: bytes) -> bytes:
    """The same picture with a palette of `COLOURS`: less than half the size."""
    image = Image.open(BytesIO(png)).convert("RGB")
    small = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
