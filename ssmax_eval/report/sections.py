"""What a report says, in order: the summary first, then each task, then what failed and how it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, effective, heatmaps, plots, tables, views, words
from ssmax_eval.report.comparison import sentences
from ssmax_eval.report.content import Picture, Section, Table
from ssmax_eval.report.differences import differences
from ssmax_eval.report.pairs import pairs
from ssmax_eval.report.provenance import notes, provenance_tables
from ssmax_eval.report.quantities import TaskQuantity, declared, summarised
from ssmax_eval.report.series import labelled, series_table
from ssmax_eval.report.statistics import FEWEST
from ssmax_eval.report.suite_section import suite_section
from ssmax_eval.report.suites import known, scored_suites
from ssmax_eval.report.summary import measures, summary_tables
from ssmax_eval.suites import Suite

FEW = 4
"""With more sentences of comparison than this, they go into their own section and not into the summary."""


def sections(
    frame: pd.DataFrame,
    *,
    baseline: str | None = None,
    provenance: Mapping[str, Mapping[str, Any]] | None = None,
    suites: Sequence[str | Suite] = (),
) -> list[Section]:
    """Return every section that these results can fill.

    `frame` is results as from `read_results`, `baseline` the series or attention that others are compared with (see
    `pairs.pairs`), `provenance` what is on record for each run, `suites` those of the user's own. What was not
    measured leaves out its section; raises UserError for an unknown baseline and when no cell has been measured.
    """
    frame = labelled(frame)
    several = baseline is not None or len(series_table(frame)) > 1
    said = _sentences(frame, baseline) if several else []
    few = len(said) <= FEW
    of_suites = scored_suites(frame, known(suites))
    covered = {name for suite in of_suites for name in suite.found}
    parts = [
        _summary(frame, said if few else [], baseline, covered),
        _comparison(frame, baseline, [] if few else said) if several else None,
        *(suite_section(suite, frame, baseline) for suite in of_suites),
        *_of_tasks(frame),
        _failures(frame),
        _provenance(frame, provenance or {}),
    ]
    return [part for part in parts if part is not None]


def _summary(frame: pd.DataFrame, said: list[str], baseline: str | None, covered: set[str]) -> Section:
    """The headline values; those of the tasks in `covered` are in the sections of suites, and here as numbers."""
    about = series_table(frame)
    trained = about["train_length"].map("at {:,.0f} tokens".format).replace("at nan tokens", "at an unknown length")
    about = about.assign(train_length=trained)
    columns = ["checkpoint", "train_length", "dtype", "rope"]
    text = [
        f"{name}, trained {length}, measured in {', '.join(filter(None, rest))}."
        for name, length, *rest in about[columns].astype("str").drop_duplicates().itertuples(index=False)
    ]
    blocks = [
        Table(f"summary-{found.file}", f"{meaning}, by tokens", part, folded=False)
        for found, meaning, part in summary_tables(frame)
        if not set(found.tasks) <= covered
    ]
    numbers = [Table("summary", "Every value above as numbers", measures(frame))]
    try:
        lengths = effective.effective_lengths(frame, baseline)
        readable = effective.readable(lengths)
        caption = (
            "Effective length: the last measured length, counted up from the shortest, that keeps what the column "
            f"asks; in tokens (multiple of the training length) [95 % interval, none below {FEWEST} independent units]"
            + f". {effective.RULES['all depths']} is left out: it needs {effective.TRIALS} trials in every cell"
            * ("all depths" not in readable and "depth" in frame)
        )
        named = readable.rename(columns=effective.RULES).reset_index()
        blocks.insert(0, Table("effective-length", caption, named, folded=False))
        numbers.append(Table("effective-length-numbers", "Effective length as numbers", lengths))
    except NothingMeasured:
        pass
    text += said
    return Section("Summary", text, [], [*blocks, *numbers])


def _sentences(frame: pd.DataFrame, baseline: str | None) -> list[str]:
    try:
        return sentences(frame, baseline)
    except NothingMeasured:
        return []


def _comparison(frame: pd.DataFrame, baseline: str | None, said: list[str]) -> Section | None:
    """Differences between series; few sentences about them are in the summary."""
    pictures, numbers = [], []
    pairs(frame, baseline)
    for found in summarised(frame):
        try:
            table = differences(frame, baseline, found)
        except NothingMeasured:
            continue
        marked = bool((table["floor"] != "").any())
        table = table.dropna(axis="columns", how="all").drop(columns=[] if marked else ["floor"])
        numbers.append(Table(f"{found.file}-difference", _difference(found) + _FLOORS * marked, table))
        if "heatmap" in found.quantity.views:
            pictures.append(_difference_map(frame, baseline, found))
    if not numbers:
        return None
    return Section("Comparison", ["Differences are always series minus baseline.", *said], pictures, numbers)


_FLOORS = (
    " Floor: lengths at which both are near the smallest or the largest value, or cannot be told from it; all together "
    "leaves them out."
)


def _difference(found: TaskQuantity) -> str:
    if found.quantity.pool == "prefix":
        over = f"over the first tokens, in {found.quantity.unit}" if found.quantity.unit else "over the first tokens"
        return f"Difference in mean {found.label} {over}; 95 % interval over units, none below {FEWEST}."
    how = f"paired 95 % interval over units, none below {FEWEST}"
    if found.quantity.pool == "share":
        how += ", exact p of the sign test"
    return f"Difference in {words.axis(found)} (0 tokens: all together); {how}."


def _difference_map(frame: pd.DataFrame, baseline: str | None, found: TaskQuantity) -> Picture:
    caption = (
        f"Difference in {words.axis(found)}, on identical trials only. Blue: the named series is higher than its "
        "baseline. Red: lower. Grey: no trial that both have."
    )
    figure = plots.difference_heatmap(frame, baseline, found)
    if axes.in_legend(figure, heatmaps.LITTLE):
        caption += " Dotted: lengths at the floor or the ceiling, which tell little about a difference."
    return Picture(f"{found.file}-difference", figure, caption)


def _of_tasks(frame: pd.DataFrame) -> list[Section]:
    """A section for each heading that the quantities of the tasks name, with every view of theirs."""
    parts: dict[str, Section] = {}
    for found in declared(frame):
        heading = found.quantity.section or words.capital(" and ".join(found.tasks).replace("_", " "))
        part = Section(heading, [], [], [])
        for view in views.known(found):
            try:
                shown = view(frame, found)
            except NothingMeasured:
                continue
            part.pictures.extend(shown.pictures)
            part.tables.extend(shown.tables)
        if not part.pictures and not part.tables:
            continue
        whole = parts.setdefault(heading, Section(heading, [], [], []))
        whole.text.extend([found.quantity.about] if found.quantity.about else [])
        whole.pictures.extend(part.pictures)
        whole.tables.extend(part.tables)
    return list(parts.values())


def _failures(frame: pd.DataFrame) -> Section | None:
    table = tables.failures(frame)
    if table.empty:
        return None
    text = ["Cells that broke off. They count neither as found nor as missed, and are in no mean."]
    caption = "Failed cells, with the commonest error."
    return Section("Failures", text, [], [Table("failures", caption, table, folded=False)])


def _provenance(frame: pd.DataFrame, provenance: Mapping[str, Mapping[str, Any]]) -> Section | None:
    runs = frame["run"].astype("str").unique()
    known = {run: provenance[run] for run in runs if run in provenance}
    if not known:
        return None
    text = ["What was run, with which versions, so that it can be run again.", *notes(frame, known)]
    return Section("Provenance", text, [], provenance_tables(known))
