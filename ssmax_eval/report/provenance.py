"""Where numbers come from, and how they go into a model card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import yaml

from ssmax_eval.report.content import Table
from ssmax_eval.report.summary import LOSS, NEEDLE, RETRIEVAL, measures


def provenance_tables(provenance: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    """Return what is on record for each run: first what all runs share, then what tells them apart.

    `provenance` is any nested mapping of plain values per run name; nested keys are joined with dots.
    A list of mappings, such as the sessions of a run, is numbered from 1 if it has several.
    """
    flat = pd.DataFrame([dict(_flatten(record)) for record in provenance.values()], index=list(provenance)).fillna("")
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


METRICS = {
    RETRIEVAL: ("accuracy", "share of needles found", "Needle in a haystack", "niah"),
    LOSS: ("loss", "mean loss, nats per token", "Language modelling loss", "loss"),
    NEEDLE: ("needle_score", "needle score of the best head", "Attention on the needle", "key_attention"),
}
"""Metric type, what it is, dataset name and dataset type of each measure, in the words of the Hub."""


def model_index(frame: pd.DataFrame) -> str:
    """Return the results as `model-index` metadata, a YAML fragment for the head of a model card.

    One entry per checkpoint, one metric per attention, measure and context length, with its 95 % interval.
    Format: https://github.com/huggingface/hub-docs/blob/main/modelcard.md.
    """
    entries = []
    for checkpoint, rows in measures(frame).dropna(subset="mean").groupby("checkpoint", observed=True, sort=False):
        results = []
        for measure, part in rows.groupby("measure", sort=False):
            kind, meaning, dataset, identifier = METRICS[str(measure)]
            metrics = [
                {
                    "type": kind,
                    "name": f"{meaning}, {row['context_length']:,} tokens, {row['series']}",
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
                    "dataset": {"type": identifier, "name": dataset},
                    "metrics": metrics,
                }
            )
        entries.append({"name": str(checkpoint), "results": results})
    return yaml.safe_dump({"model-index": entries}, sort_keys=False, allow_unicode=True)
