"""Benchmarks of lm-evaluation-harness, where it is installed: its own numbers, under any attention."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import LlamaForCausalLM

import ssmax_eval
from ssmax_eval import UserError
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.rope import forget_lengths
from ssmax_eval.cli import main
from ssmax_eval.model import harness as room
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.store import Store, read_runs
from ssmax_eval.tasks.harness.chosen import harness_tasks
from ssmax_eval.tasks.harness.metrics import metrics_of
from ssmax_eval.tasks.harness.task import METRICS, Harness
from tests.conftest import make_tokenizer, tiny_config

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


def test_the_harness_gives_the_same_numbers_alone(
    tiny_folder: Path, files: Path, make: Callable[..., list[Harness]], tmp_path: Path
) -> None:
    mine = numbers(make(*KINDS), tiny_folder, "none", tmp_path, batch_size=1)
    assert len(mine) == 4 + 3 + 2 + 2
    assert mine == pytest.approx(theirs(tiny_folder, files), rel=1e-9)


def test_examples_and_chat_templates_are_those_of_the_harness(
    tiny_folder: Path, files: Path, make: Callable[..., list[Harness]], tmp_path: Path
) -> None:
    tasks = make("tiny_choice", "tiny_last", "tiny_say", shots=2, limit=5, chat_template=True)
    mine = numbers(tasks, tiny_folder, "none", tmp_path, batch_size=1)
    expected = theirs(tiny_folder, files, num_fewshot=2, limit=5, apply_chat_template=True)
    assert mine == pytest.approx({name: one for name, one in expected.items() if name in mine}, rel=1e-9)


def test_examples_do_not_depend_on_which_documents_are_missing(
    tiny_folder: Path, make: Callable[..., list[Harness]], tmp_path: Path
) -> None:
    whole = make("tiny_choice", shots=2)
    part = make("tiny_choice", shots=2, limit=3)
    assert part[0].identity() == whole[0].identity()
    first = numbers(part, tiny_folder, "none", tmp_path / "parts", batch_size=1)
    both = numbers(whole, tiny_folder, "none", tmp_path / "parts", batch_size=1)
    assert both == pytest.approx(numbers(whole, tiny_folder, "none", tmp_path / "whole", batch_size=1), rel=1e-9)
    assert first != both
    (folder,) = (tmp_path / "parts").iterdir()
    assert len((folder / "cells.jsonl").read_text().splitlines()) == len(QUESTIONS)


@pytest.mark.parametrize("attention", ["ssmax", "lssar:p=3", "softmax"])
def test_batches_and_padding_change_no_number(
    attention: str, tiny_folder: Path, make: Callable[..., list[Harness]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from lm_eval.models.huggingface import HFLM

    tasks = make(*KINDS)
    shapes: set[tuple[int, ...]] = set()
    called = HFLM._model_call

    def seen(self: Any, ids: torch.Tensor) -> Any:
        shapes.add(tuple(ids.shape))
        return called(self, ids)

    monkeypatch.setattr(HFLM, "_model_call", seen)
    alone = numbers(tasks, tiny_folder, attention, tmp_path / "1", batch_size=1)
    assert {rows for rows, _ in shapes} == {1}
    together = numbers(tasks, tiny_folder, attention, tmp_path / "4", batch_size=4)
    assert {rows for rows, _ in shapes} >= {3, 4}
    assert together == pytest.approx(alone, rel=1e-4)
    said = [ssmax_eval.read_results(tmp_path / name).set_index(["task", "document"])["answer"] for name in "14"]
    assert said[0].dropna().to_dict() == said[1].dropna().to_dict()
    plain = numbers(tasks, tiny_folder, "none", tmp_path / "none", batch_size=4)
    assert (plain == pytest.approx(alone, rel=1e-4)) == (attention == "softmax")


def test_a_rewritten_model_has_the_log_likelihoods_of_our_own_model(
    tiny_folder: Path, make: Callable[..., list[Harness]], tmp_path: Path
) -> None:
    (task,) = make("tiny_last")
    frame = ssmax_eval.evaluate(Checkpoint(str(tiny_folder)), "ssmax", task, tmp_path, progress=False)
    model = ssmax_eval.load(str(tiny_folder), "ssmax")
    question, choices, right = QUESTIONS[1]
    whole = model.tokenizer(f"{question} {choices[right]}")["input_ids"]
    asked = len(model.tokenizer(question)["input_ids"])
    loss = float(model.token_losses(torch.tensor(whole))[asked - 1 :].sum())
    row = frame[frame["document"] == 1].iloc[0]
    assert row["nats_per_answer"] == pytest.approx(loss, rel=1e-5)
    assert row["actual_length"] == len(whole) <= task.lengths[0]


def test_under_dynamic_rope_each_text_has_its_own_angles(files: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    dynamic = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    hf = LlamaForCausalLM(tiny_config(max_position_embeddings=8, rope_parameters=dynamic)).eval()
    hf.save_pretrained(tmp_path / "dynamic")
    make_tokenizer().save_pretrained(tmp_path / "dynamic")
    source = Checkpoint(str(tmp_path / "dynamic"))
    tasks = harness_tasks(["tiny_last"], source, include=str(files), max_length=64)
    frame = ssmax_eval.evaluate(source, "softmax", tasks, tmp_path / "runs", progress=False, batch_size=4)
    for (question, choices, right), row in zip(QUESTIONS, frame.sort_values("document").itertuples(), strict=True):
        ids = source.tokenizer(f"{question} {choices[right]}", return_tensors="pt")["input_ids"]
        asked = len(source.tokenizer(question)["input_ids"])
        forget_lengths(hf)
        with torch.no_grad():
            chances = hf(ids[:, :-1]).logits[0, asked - 1 :].log_softmax(-1)  # the harness runs no last token
        loss = -float(chances.gather(-1, ids[0, asked:, None]).sum())
        assert row.nats_per_answer == pytest.approx(loss, rel=1e-4)


def test_cells_say_what_was_asked_and_answered(
    tiny_folder: Path, make: Callable[..., list[Harness]], tmp_path: Path
) -> None:
    frame = ssmax_eval.evaluate(
        Checkpoint(str(tiny_folder)), "none", make("tiny_choice", "tiny_say"), tmp_path, progress=False
    )
    row = frame[(frame["task"] == "tiny_choice") & (frame["document"] == 2)].iloc[0]
    assert json.loads(row["expected"]) == ["seven days"]
    assert row["answer"] in QUESTIONS[2][1]
    assert row["acc"] == float(row["answer"] == "seven days")
    assert set(json.loads(row[METRICS])) == {"acc,none", "acc_norm,none", "brier_score,none", "mcc,none"}
    (said,) = {name for name in frame["run"].unique() if "tiny_say" in name}
    shown = call("show", tmp_path / said, "--cell", "document=3").stdout
    assert shown.splitlines()[0] == "tiny_say  context_length=64,document=3"
    assert 'expected  ["honey"]' in shown
    assert "asked     ... " in shown
    assert "Bees make" in call("reconstruct", tmp_path / said, "--cell", "document=3").stdout


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_the_command_stores_prints_and_goes_on(tiny_folder: Path, files: Path, tmp_path: Path) -> None:
    line = [
        *("harness", tiny_folder, "--tasks", "tiny", "--attention", "softmax", "--attention", "ssmax"),
        *("--include-path", files, "-o", tmp_path, "--json", "--quiet"),
    ]
    found = json.loads(call(*line, "--limit", 6).stdout)["results"]
    assert {(one["task"], one["metric"], one["attention"].partition(":")[0]) for one in found} >= {
        ("tiny_choice", "acc,none", "softmax"),
        ("tiny_last", "perplexity,none", "ssmax"),
    }
    assert {one["documents"] for one in found} == {6, 12}
    means = {(one["task"], one["attention"]): one["value"] for one in found if one["metric"] == "acc,none"}
    for attention in {name for _, name in means}:
        both = [means["tiny_choice", attention], means["tiny_last", attention]]
        assert means["tiny", attention] == pytest.approx(sum(both) / 2)
    again = call(*line, "--limit", 6)
    assert json.loads(again.stdout)["results"] == found
    more = json.loads(call(*line).stdout)["results"]
    assert {one["documents"] for one in more} == {7, 14}
    records = read_runs(tmp_path)
    assert len(records) == 4
    for record in records.values():
        kinds = [one["kind"] for one in record["sessions"]]
        assert kinds == ["session", "harness", "session", "harness"]
        task = record["identity"]["task"]
        assert (task["benchmark_version"], task["shots"], task["chat_template"]) == ("2.0", 0, False)
        assert {"include", "texts_path"}.isdisjoint(task)
    told = {name: one["sessions"][-1] for name, one in records.items() if "softmax_tiny_choice" in name}
    ((_, last),) = told.items()
    shares = [one for one in more if one["task"] == "tiny_choice" and one["attention"] == "softmax"]
    assert last["results"]["acc,none"] == next(one["value"] for one in shares if one["metric"] == "acc,none")
    assert last["results"]["acc_stderr,none"] == next(one["stderr"] for one in shares if one["metric"] == "acc,none")
    assert "on 7 identical documents" in call("compare", tmp_path).stdout
    assert " 7 " in call("runs", tmp_path).stdout
    report = call("report", tmp_path, "-o", tmp_path / "report")
    assert report.exit_code == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Accuracy (tiny_choice)" in page
    assert "Effective length" not in page


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "tiny_chioce"], "knows no task 'tiny_chioce'; did you mean 'tiny_choice'"),
        (["--tasks", "gone"], "task 'gone' cannot be loaded: FileNotFoundError"),
        (["--tasks", "tiny_whole"], "measures only mcc, which no document has for itself"),
        (["--tasks", "tiny_say", "--max-length", "6"], "asks for answers of up to 6 tokens, and the model may see 6"),
        (["--tasks", "tiny", "--include-path", "nowhere"], "--include-path 'nowhere' is not a folder"),
    ],
)
def test_mistakes_are_said_in_one_line(
    arguments: list[str], said: str, tiny_folder: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.tasks import TaskManager

    class Own(TaskManager):  # type: ignore[misc]
        """Without the harness's own tasks, whose list takes half a minute to read."""

        def __init__(self, include_path: str | None = None, include_defaults: bool = True) -> None:
            super().__init__(include_path=include_path, include_defaults=False)

    monkeypatch.setattr("lm_eval.tasks.TaskManager", Own)
    (files / "gone.yaml").write_text(HEAD.format(name="gone", data="/nowhere.jsonl") + BODIES["tiny_last"])
    result = call("harness", tiny_folder, "--include-path", files, *arguments, "-o", tmp_path / "runs")
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_documents_longer_than_the_window_are_said(make: Callable[..., list[Harness]]) -> None:
    said: list[str] = []
    (task,) = make("tiny_choice", max_length=12, say=said.append)
    assert (task.window, task.lengths) == (12, (12,))
    assert any("documents are longer than 12 tokens; their beginning is cut" in line for line in said)
    (whole,) = make("tiny_choice", max_length=200)
    assert whole.window == 0
    assert whole.identity() == make("tiny_choice")[0].identity()


def test_what_decides_a_number_is_in_the_identity(
    make: Callable[..., list[Harness]], files: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    (task,) = make("tiny_choice")
    others = [make("tiny_choice", **{name: value})[0] for name, value in (("shots", 1), ("seed", 3), ("max_length", 9))]
    data = (files / "data.jsonl").read_text()
    (tmp_path / "data.jsonl").write_text(data.replace("Paris", "Lyon"))
    text = (files / "tiny_choice.yaml").read_text()
    (tmp_path / "tiny_choice.yaml").write_text(text.replace(str(files), str(tmp_path)))
    source = Checkpoint(str(tiny_folder))
    others += harness_tasks(["tiny_choice"], source, include=str(tmp_path))
    (tmp_path / "data.jsonl").write_text(data)
    again = harness_tasks([str(tmp_path / "tiny_choice.yaml")], source)
    assert again[0].data == task.data
    (tmp_path / "worded.yaml").write_text(text.replace("{{question}}", "Q: {{question}}"))
    others += harness_tasks([str(tmp_path / "worded.yaml")], source)
    assert again[0].identity() == task.identity()
    identities = [json.dumps(one.identity(), sort_keys=True) for one in (task, *others)]
    assert len(set(identities)) == len(identities)


def test_metrics_whose_mean_is_not_their_number_are_left_out(make: Callable[..., list[Harness]]) -> None:
    def best_of(items: list[float]) -> float:
        return max(items)

    class Theirs:
        """A task whose metrics are gathered in several ways."""

        _filters = (type("Filter", (), {"name": "none"}),)
        config = None

        def aggregation(self) -> dict[str, Any]:
            return {"best": best_of, "mean": lambda items: sum(items) / len(items), "counted": self._without_absent}

        def higher_is_better(self) -> dict[str, bool]:
            return {"best": True, "mean": True, "counted": True}

        def _without_absent(self, items: list[float]) -> float:
            there = [one for one in items if one != -1]
            return sum(there) / len(there) if there else -1

    found, others = metrics_of(Theirs())
    assert [one.key for one in found] == ["mean,none"]
    assert others == ["best", "counted"]


def test_from_python_it_is_a_model_of_the_harness(tiny_folder: Path, files: Path) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    with room.quiet():
        manager = TaskManager(include_path=str(files), include_defaults=False)
        found = {
            attention: lm_eval.simple_evaluate(
                ssmax_eval.lm(str(tiny_folder), attention), tasks=["tiny_text"], task_manager=manager, bootstrap_iters=0
            )["results"]["tiny_text"]["word_perplexity,none"]
            for attention in ("none", "softmax", "ssmax")
        }
    assert found["softmax"] == pytest.approx(found["none"], rel=1e-5)
    assert not math.isclose(found["ssmax"], found["none"], rel_tol=1e-3)


def test_a_tokenizer_without_ends_is_refused(tiny_folder: Path, files: Path) -> None:
    source = Checkpoint(str(Path(__file__).parents[2] / "checkpoints" / "softmax-seed0"))
    with pytest.raises(UserError, match="no token that begins or ends a text"):
        harness_tasks(["tiny_last"], source, include=str(files))
