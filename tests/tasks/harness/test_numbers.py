"""The numbers of lm-evaluation-harness are its own, under any attention."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

import ssmax_eval
from ssmax_eval import UserError
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.rope import forget_lengths
from ssmax_eval.model import harness as room
from ssmax_eval.tasks.harness.chosen import harness_tasks
from ssmax_eval.tasks.harness.task import METRICS, Harness
from tests.conftest import make_tokenizer, tiny_config
from tests.tasks.harness.examples import KINDS, QUESTIONS, call, numbers, theirs


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
    source = Checkpoint(str(Path(__file__).parents[3] / "checkpoints" / "softmax-seed0"))
    with pytest.raises(UserError, match="no token that begins or ends a text"):
        harness_tasks(["tiny_last"], source, include=str(files))
