"""What a report says, in order: the summary first, then each task, then what failed and how it was run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report import compare, effective, plots, tables
from ssmax_eval.report.content import Picture, Section, Table
from ssmax_eval.report.differences import sentences
from ssmax_eval.report.provenance import provenance_tables
from ssmax_eval.report.series import labelled, series_table
from ssmax_eval.report.summary import measures, perplexity, summary_tables

FEW = 4
"""With more sentences of comparison than this, they go into their own section and not into the summary."""


def sections(
    frame: pd.DataFrame,
    *,
    baseline: str | None = None,
    provenance: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Section]:
    """Return every section that these results can fill.

    `frame` is results as from `read_results`, `baseline` the series that others are compared with (see
    `compare.pairs`), `provenance` what is on record for each run. Tasks that were not measured leave out
    their section; raises UserError when no cell has been measured.
    """
    frame = labelled(frame)
    if baseline is not None:
        compare.pairs(frame, baseline)
    said = _sentences(frame, baseline)
    few = len(said) <= FEW
    parts = [
        _summary(frame, said if few else []),
        _try(_retrieval, frame),
        _try(lambda rows: _comparison(rows, baseline, [] if few else said), frame),
        _try(_loss, frame),
        _try(_needles, frame),
        _failures(frame),
        _provenance(frame, provenance or {}),
    ]
    return [part for part in parts if part is not None]


def _try(part: Callable[[pd.DataFrame], Section], frame: pd.DataFrame) -> Section | None:
    try:
        return part(frame)
    except UserError:
        return None


def _summary(frame: pd.DataFrame, said: list[str]) -> Section:
    about = series_table(frame)
    about = about.assign(train_length=about["train_length"].map("{:,.0f}".format))
    columns = ["checkpoint", "train_length", "dtype", "rope"]
    text = [
        f"{name}, trained at {length} tokens, measured in {', '.join(filter(None, rest))}."
        for name, length, *rest in about[columns].astype("str").drop_duplicates().itertuples(index=False)
    ]
    blocks = [
        Table(f"summary-{measure.replace(' ', '-')}", f"{meaning}, by tokens", part, folded=False)
        for measure, meaning, part in summary_tables(frame)
    ]
    numbers = [Table("summary", "Every value above as numbers", measures(frame))]
    try:
        readable = effective.headline(frame).rename(columns=effective.RULES).reset_index()
        caption = (
            "Effective length: the last measured length, counted up from the shortest, that keeps what the column "
            "asks; in tokens (multiple of the training length) [95 % interval]"
        )
        blocks.insert(0, Table("effective-length", caption, readable, folded=False))
        numbers.append(
            Table("effective-length-numbers", "Effective length as numbers", effective.effective_lengths(frame))
        )
    except UserError:
        pass
    text += said
    return Section("Summary", text, [], [*blocks, *numbers])


def _sentences(frame: pd.DataFrame, baseline: str | None) -> list[str]:
    try:
        return sentences(frame, baseline)
    except UserError:
        return []


def _retrieval(frame: pd.DataFrame) -> Section:
    cells = tables.retrieval_cells(frame)
    count = cells["n"] + cells["failed"]
    trials = f"{count.min()}–{count.max()}" if count.nunique() > 1 else str(count.max())
    grid = (
        "Share of needles found by context length and needle depth (0 % is the start of the text), "
        f"{trials} trial{'s' * (trials != '1')} a cell."
    )
    by_length = "Share of needles found by context length, all depths pooled, with Wilson's 95 % interval."
    pictures = [
        Picture("niah-heatmap", plots.niah_heatmap(frame), grid),
        Picture("niah-by-length", plots.retrieval_by_length(frame), by_length),
    ]
    numbers = [
        Table("niah-by-length", by_length, tables.retrieval_by_length(frame)),
        Table("niah-cells", "Needle retrieval per cell, with Wilson's 95 % interval.", cells),
    ]
    text = ["A number is hidden in a long text at a given depth, and the model is asked for it at the end."]
    return Section("Needle in a haystack", text, pictures, numbers)


def _comparison(frame: pd.DataFrame, baseline: str | None, said: list[str]) -> Section:
    """Differences between series; the sentences about them are in the summary."""
    compare.pairs(frame, baseline)
    pictures, numbers = [], []
    try:
        caption = (
            "Difference in the share of needles found, on identical prompts only. Blue: the named series finds more "
            "than its baseline. Red: fewer. Grey: no prompt that both have."
        )
        pictures.append(Picture("niah-difference", plots.difference_heatmap(frame, baseline), caption))
        caption = "Difference in needles found (0 tokens: all together); paired 95 % interval, exact McNemar p."
        numbers.append(Table("niah-difference", caption, compare.retrieval_differences(frame, baseline)))
    except UserError:
        pass
    try:
        caption = "Difference in mean loss over the first tokens, in nats per token; 95 % interval over documents."
        numbers.append(Table("loss-difference", caption, compare.loss_differences(frame, baseline)))
    except UserError:
        pass
    if not numbers:
        raise UserError("nothing was measured for two series")
    text = ["Differences are always series minus baseline.", *said]
    return Section("Comparison", text, pictures, numbers)


def _loss(frame: pd.DataFrame) -> Section:
    table = tables.loss_by_position(frame)
    by_position = (
        "Loss by position in the document, in nats per token. Smoothed in 64 bins, evenly spaced on a log scale; "
        f"mean and 95 % interval over {table['n'].max()} documents. Dashed: the training length."
    )
    by_length = "Mean loss over the first tokens of each document, in nats per token, with the 95 % interval."
    pictures = [
        Picture("loss-by-position", plots.loss_by_position(frame), by_position),
        Picture("loss-by-length", plots.loss_by_length(frame), by_length),
    ]
    numbers = [
        Table(
            "perplexity", "Perplexity over the first tokens, with the 95 % interval", perplexity(frame), folded=False
        ),
        Table("loss-by-length", by_length, tables.loss_by_length(frame)),
        Table("loss-by-position", by_position, table),
    ]
    return Section("Loss", ["How well each token is predicted from all before it. Lower is better."], pictures, numbers)


def _needles(frame: pd.DataFrame) -> Section:
    heads = (
        "Needle score of every head, best first: the weight that the row predicting the answer puts on the digits of "
        "the needle. Band: 95 % interval over cells."
    )
    by_length = "Needle score of each series' best head by context length, with the 95 % interval over cells."
    fading = (
        "Largest weight, entropy, effective number of keys and weight on the first token, against the row of the "
        "query; mean over layers and heads, smoothed in 24 log bins, with the 95 % interval over cells."
    )
    pictures = [
        Picture("needle-by-head", plots.needle_by_head(frame), heads),
        Picture("needle-by-length", plots.needle_by_length(frame), by_length),
    ]
    if {"score", "leading_digits"} <= set(frame):
        caption = (
            "Needle score of the best head in each trial, and whether the answer was right; sorted within a length."
        )
        pictures.append(Picture("needle-by-outcome", plots.needle_by_outcome(frame), caption))
    pictures += [
        Picture("needle-map", plots.needle_map(frame), "Needle score by layer and head, all lengths. Ring: best head."),
        Picture("attention-fading", plots.attention_fading(frame), fading),
        Picture(
            "attention-fading-by-layer",
            plots.attention_fading_by_layer(frame),
            "Effective number of keys against the row of the query, a line per layer; mean over heads and cells.",
        ),
    ]
    numbers = [
        Table("needle-by-length", by_length, tables.needle_by_length(frame)),
        Table("needle-by-head", "Needle score per head, all lengths.", tables.needle_by_head(frame)),
    ]
    return Section("Attention on the needle", ["What the weights did, head by head."], pictures, numbers)


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
    text = ["What was run, with which versions, so that it can be run again."]
    return Section("Provenance", text, [], provenance_tables(known))
