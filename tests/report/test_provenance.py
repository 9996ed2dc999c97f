"""Provenance says what runs share and what differs; the model card is what the Hub reads."""

import pandas as pd
import yaml

from ssmax_eval.report.provenance import model_index, notes, provenance_tables
from tests.report import examples


def test_what_runs_share_is_said_once() -> None:
    record = {"versions": {"torch": "2.9", "python": "3.11"}, "seed": 0, "checkpoint": None}
    shared, differing = provenance_tables(
        {"a": {**record, "attention": "softmax"}, "b": {**record, "attention": "lssa"}}
    )
    assert shared.data.values.tolist() == [["versions.torch", "2.9"], ["versions.python", "3.11"], ["seed", "0"]]
    assert differing.data.values.tolist() == [["a", "softmax"], ["b", "lssa"]]


def test_one_run_and_a_key_that_only_one_run_has() -> None:
    assert [part.name for part in provenance_tables({"a": {"seed": 1}})] == ["provenance"]
    (differing,) = provenance_tables({"a": {"seed": 1}, "b": {}})
    assert differing.data.values.tolist() == [["a", "1"], ["b", ""]]


def test_the_sessions_of_a_run_are_numbered_where_there_are_several() -> None:
    (one,) = provenance_tables({"a": {"sessions": [{"device": "cpu"}]}})
    assert one.data["what"].tolist() == ["sessions.device"]
    (two,) = provenance_tables({"a": {"sessions": [{"device": "cpu"}, {"device": "cuda"}], "lengths": [1, 2]}})
    assert two.data.values.tolist() == [
        *(["sessions.1.device", "cpu"], ["sessions.2.device", "cuda"]),
        ["lengths", "[1, 2]"],
    ]


def test_model_index_reads_as_the_hub_reads_it() -> None:
    from huggingface_hub.repocard_data import model_index_to_eval_results

    frame = pd.concat([examples.everything(checkpoint=c) for c in ("org/a: b", "org/c")])
    entries = yaml.safe_load(model_index(frame))["model-index"]
    assert [entry["name"] for entry in entries] == ["org/a: b", "org/c"]
    name, results = model_index_to_eval_results(entries[:1])
    assert name == "org/a: b"
    first = results[0]
    assert (first.task_type, first.dataset_type, first.metric_type) == ("text-generation", "niah", "accuracy")
    assert first.metric_value == 1.0
    assert first.metric_args is not None
    assert first.metric_args["context_length"] == 512
    # Three trials have no interval.
    assert not {"low", "high"} & set(first.metric_args)
    (entry,) = yaml.safe_load(model_index(examples.niah(trials=5)))["model-index"]
    _, (first, *_) = model_index_to_eval_results([entry])
    assert first.metric_args is not None
    assert 0 < first.metric_args["low"] < 1


def test_what_a_run_declares_is_no_provenance_and_its_notes_are_said_by_series() -> None:
    frame = examples.niah("ssmax:s=table", lengths=(512,))
    run = str(frame["run"].iloc[0])
    record = {"quantities": [{"name": "score"}], "notes": ["s per head, 0.11 to 0.31"], "seed": 0}
    (table,) = provenance_tables({run: record})
    assert table.data.values.tolist() == [["seed", "0"]]
    assert notes(frame, {run: record}) == ["ssmax:s=table: s per head, 0.11 to 0.31"]
    assert notes(frame, {run: {"seed": 0}}) == []
