"""Where numbers come from, and how they go into a model card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import yaml

from ssmax_eval.report import words
from ssmax_eval.report.content import Table
from ssmax_eval.report.quantities import TaskQuantity, summarised
from ssmax_eval.report.series import labelled
from ssmax_eval.report.summary import measures

UNTOLD = ("quantities", "notes")
"""What a run's description holds for reports, and stands elsewhere in them."""


def notes(frame: pd.DataFrame, provenance: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each series that its runs describe further, such as the range of a table of values."""
    runs = labelled(frame)[["run", "series"]].drop_duplicates().astype("str")
    said = [
        f"{series}: {text}"
        for run, series in runs.itertuples(index=False)
        for text in provenance.get(run, {}).get("notes") or ()
    ]
    return list(dict.fromkeys(said))


def provenance_tables(provenance: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Return what is on record for each run: first what all runs share, then what tells them apart.

    `provenance` is any nested mapping of plain values per run name; nested keys are joined with dots.
    A list of mappings, such as the sessions of a run, is numbered from 1 if it has several.
    """
    told = [{key: value for key, value in record.items() if key not in UNTOLD} for record in provenance.values()]
    flat = pd.DataFrame([dict(_flatten(record)) for record in told], index=list(provenance)).fillna("")
    shared = flat.columns[flat.nunique() == 1]
    parts = []
    if len(shared):
        common = flat[shared].iloc[0].rename_axis("what").rename("value").reset_index()
        parts.append(Table("provenance", "The same in every run.", common, folded=False))
    differing = flat.drop(columns=[*shared, "run"], errors="ignore")
    if len(differing.columns):
        parts.append(Table("provenance-by-run", "What differs.", differing.rename_axis("run").reset_index()))
    return parts


def _flatten(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = value[0] if len(value) == 1 else {str(number): item for number, item in enumerate(value, 1)}
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)


def model_index(frame: pd.DataFrame) -> str:
    """Return the results as `model-index` metadata, a YAML fragment for the head of a model card.

    One entry per checkpoint, one metric per attention, measure and context length, with its 95 % interval.
    Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
    """
    frame = labelled(frame)
    known = {found.label: found for found in summarised(frame)}
    entries = []
    for checkpoint, rows in measures(frame).dropna(subset="mean").groupby("checkpoint", observed=True, sort=False):
        results = []
        for measure, part in rows.groupby("measure", sort=False):
            found = known[str(measure)]
            metrics = [
                {
                    "type": _metric(found),
                    "name": f"{words.axis(found)}, {row['context_length']:,} tokens, {row['series']}",
                    "value": round(float(row["mean"]), 6),
                    "args": {
                        "attention": str(row["attention"]),
                        "context_length": int(row["context_length"]),
                        "n": int(row["n"]),
                        **{k: round(float(row[k]), 6) for k in ("low", "high") if pd.notna(row[k])},
                    },
                }
                for _, row in part.iterrows()
            ]
            results.append(
                {
                    "task": {"type": "text-generation", "name": "Text Generation"},
                    "dataset": {"type": found.tasks[0], "name": found.quantity.section or found.tasks[0]},
                    "metrics": metrics,
                }
            )
        entries.append({"name": str(checkpoint), "results": results})
    return yaml.safe_dump({"model-index": entries}, sort_keys=False, allow_unicode=True)


def _metric(found: TaskQuantity) -> str:
    """The Hub's word for a metric: a share of right answers is an accuracy."""
    share = found.quantity.pool == "share" and found.quantity.better == "higher"
    return "accuracy" if share else found.quantity.title.replace(" ", "_")
