"""Benchmarks of a few questions, and what they give in our hands and in those of the harness."""

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.cli import main
from ssmax_eval.model import harness as room
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.store import Store
from ssmax_eval.tasks.harness.task import Harness

QUESTIONS = [
    ("The capital of France is", ["Paris", "a stone", "Rome"], 0),
    ("Water freezes at", ["noon", "zero degrees Celsius", "home"], 1),
    ("A week has", ["five days", "nine days", "seven days"], 2),
    ("Bees make", ["honey", "bread from a very old recipe", "wine"], 0),
    ("The Sun is", ["a planet", "a star", "a moon that nobody has seen"], 1),
    ("Snow is", ["black", "green", "white"], 2),
    ("Two plus two is", ["four", "five", "nine"], 0),
]
HEAD = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
fewshot_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: " {{{{choices[answer]}}}}"
metadata:
  version: 2.0
"""
BODIES = {
    "tiny_choice": """
output_type: multiple_choice
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}
  - {metric: mcc, aggregation: matthews_corrcoef, higher_is_better: true}
""",
    "tiny_text": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}} {{choices}}"
metric_list:
  - {metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
  - {metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}
""",
    "tiny_last": """
output_type: loglikelihood
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
""",
    "tiny_say": """
output_type: generate_until
generation_kwargs: {until: ["."], max_gen_toks: 6}
num_fewshot: 1
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
filter_list:
  - {name: first, filter: [{function: regex, regex_pattern: "(\\\\w+)"}, {function: take_first}]}
  - {name: whole, filter: [{function: take_first}]}
""",
    "tiny_whole": """
output_type: multiple_choice
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - {metric: mcc, aggregation: matthews_corrcoef, higher_is_better: true}
""",
}
KINDS = ("tiny_choice", "tiny_text", "tiny_last", "tiny_say")


def numbers(tasks: list[Harness], folder: Path, attention: str, root: Path, **options: Any) -> dict[str, float]:
    """What the harness makes of the documents of some tasks, by task and metric."""
    planned = prepare(Checkpoint(str(folder)), attention, tasks, root)
    ssmax_eval.evaluate(Checkpoint(str(folder)), attention, tasks, root, progress=False, **options)
    found: dict[str, float] = {}
    for run, task in zip(planned.runs, tasks, strict=True):
        there = Store(root).cells(run.name)
        found |= {f"{task.name} {one.key}": one.value for one in task.aggregates(there.values())}
    return found


def theirs(folder: Path, files: Path, **options: Any) -> dict[str, float]:
    """The same, by the harness alone, on the checkpoint that it has loaded itself."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    with room.quiet():
        manager = TaskManager(include_path=str(files), include_defaults=False)
        found = lm_eval.simple_evaluate(
            "hf", {"pretrained": str(folder), "device": "cpu"}, list(KINDS), task_manager=manager, batch_size=1,
            bootstrap_iters=0, **options,
        )  # fmt: skip
    results = found["results"].items()
    return {f"{t} {k}": float(v) for t, one in results for k, v in one.items() if "," in k and "stderr" not in k}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])
