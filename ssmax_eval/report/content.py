"""The parts a report is made of, for any way of writing them down."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure with its file name, what it shows, and how to read it."""

    name: str
    """File name without extension."""
    figure: Figure
    caption: str
    """What is drawn, with units, intervals and smoothing; also the text for who cannot see it."""


@dataclass(frozen=True)
class Table:
    """A table with its file name and what it holds."""

    name: str
    """File name without extension."""
    caption: str
    data: pd.DataFrame
    """Numbers, or text where the table is meant to be read."""
    folded: bool = True
    """Whether a page hides it until asked."""


@dataclass(frozen=True)
class Section:
    """A part of the report under one heading."""

    heading: str
    text: list[str]
    """Paragraphs."""
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
