"""Task files of a few questions, and the tasks made of them; all is passed over where lm_eval is not installed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.model import harness as room
from ssmax_eval.tasks.harness.chosen import harness_tasks
from ssmax_eval.tasks.harness.task import Harness
from tests.tasks.harness.examples import BODIES, HEAD, QUESTIONS


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with room.quiet():
        pytest.importorskip("lm_eval")
    monkeypatch.setattr("ssmax_eval.tasks.harness.metrics.RESAMPLES", 2)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of task files with local data."""
    folder = tmp_path_factory.mktemp("benchmarks")
    rows = [json.dumps({"question": q, "choices": c, "answer": a}) for q, c, a in QUESTIONS]
    (folder / "data.jsonl").write_text("\n".join(rows))
    for name, body in BODIES.items():
        text = HEAD.format(name=name, data=folder / "data.jsonl")
        if "doc_to_target" in body:
            text = text.replace('doc_to_target: " {{choices[answer]}}"\n', "")
        if "doc_to_text" in body:
            text = text.replace('doc_to_text: "{{question}}"\n', "")
        (folder / f"{name}.yaml").write_text(text + body)
    (folder / "tiny.yaml").write_text(
        "group: tiny\ntask: [tiny_choice, tiny_last]\naggregate_metric_list:\n  - {metric: acc, aggregation: mean}\n"
    )
    return folder


@pytest.fixture(scope="module")
def make(tiny_folder: Path, files: Path) -> Callable[..., list[Harness]]:
    def tasks(*names: str, **options: Any) -> list[Harness]:
        return harness_tasks(names, Checkpoint(str(tiny_folder)), include=str(files), **options)

    return tasks
