"""The tasks on the tiny checkpoint: each number against another way to get it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import ssmax_eval
from ssmax_eval import tasks
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.key_attention import KeyAttention
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import Niah, scored
from ssmax_eval.tasks.prompts import Prompt


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> ssmax_eval.Model:
    return ssmax_eval.load(str(tiny_folder), attention="ssmax:s=0.3", dtype="float32")


def test_a_batch_gives_what_single_cells_give(model: ssmax_eval.Model) -> None:
    for task in (Niah(lengths=(256,), trials=2), KeyAttention(lengths=(256,), trials=2), Loss(lengths=(64,))):
        measure, cells = task.bind(model), task.cells()[:4]
        for one, cell in zip(measure(cells), cells, strict=True):
            (alone,) = measure([cell])
            assert one.cell == cell
            for name, column in {**one.rows, **{k: [v] for k, v in one.values.items()}}.items():
                other = alone.rows.get(name, [alone.values.get(name)])
                assert column == (pytest.approx(other, abs=1e-4) if isinstance(other[0], float) else other)


@pytest.mark.parametrize("kind", [Niah, KeyAttention])
@pytest.mark.parametrize("attention", ["softmax", "ssmax:s=0.3", "lssar:p=3"])
def test_depths_share_what_they_begin_with_and_nothing_else(tiny_folder: Path, kind: type, attention: str) -> None:
    model = ssmax_eval.load(str(tiny_folder), attention, dtype="float64")
    task = kind(lengths=(320,), trials=1, depths=(1.0, 0.5, 0.0, 0.75, 0.25))
    assert model.resumable
    (group,) = task.batches(task.cells(), 1)
    assert [cell.depth for cell in group] == [0.0, 0.25, 0.5, 0.75, 1.0]
    measure, rows = task.bind(model), 0
    forward = model.attention.forward

    def counting(call):  # type: ignore[no-untyped-def]
        nonlocal rows
        rows += call.query.shape[2]
        return forward(call)

    object.__setattr__(model.attention, "forward", counting)
    found = list(measure(group))
    assert rows < 2 * 320 * 4.6
    for one, cell in zip(found, group, strict=True):
        (alone,) = measure([cell])
        assert (one.cell, one.values) == (cell, {**alone.values, "logprob": pytest.approx(alone.values["logprob"])})
        assert one.seconds > 0
        for name, column in one.rows.items():
            assert column == pytest.approx(alone.rows[name], rel=1e-5, abs=1e-9)


def test_trials_run_as_batches_of_one_depth(model: ssmax_eval.Model) -> None:
    task = Niah(lengths=(256, 300), depths=(0.0, 1.0), trials=3)
    groups = list(task.batches(task.cells(), 2))
    assert [[(c.depth, c.trial) for c in group] for group in groups[:2]] == [
        [(0.0, 0), (0.0, 1), (1.0, 0), (1.0, 1)],
        [(0.0, 2), (1.0, 2)],
    ]
    assert [group[0].context_length for group in groups] == [256, 256, 300, 300]


def test_teacher_forcing_agrees_with_greedy_decoding(model: ssmax_eval.Model) -> None:
    """The model's own greedy continuation is a right answer, and the same with one token changed is a wrong one."""
    forced = Niah(lengths=(256,), depths=(0.5,), trials=4, digits=4)
    free = tasks.overridden(forced, {"scoring": "generate", "max_new_tokens": 3})
    assert isinstance(free, Niah)
    haystack, _ = forced.haystack(model.tokenizer)
    scores = []
    for cell in forced.cells():
        asked = haystack.prompt(cell)
        ids = asked.ids[: asked.answer_start]
        greedy: list[int] = []
        for _ in range(3):
            greedy.append(int(model.answer([*ids, *greedy, 5], 1)[1][0, -1]))
        assert not set(greedy) & set(model.tokenizer.all_special_ids)
        another = model.tokenizer.convert_tokens_to_ids("x")
        assert another not in greedy
        for changed in (None, 0, 2):
            answer = [another if i == changed else token for i, token in enumerate(greedy)]
            text = model.tokenizer.decode(answer)
            prompt = replace(asked, ids=[*ids, *answer], number=text)
            found = model.answer(prompt.ids, len(answer))
            ((one, _),) = forced.found(model, [prompt], found)
            ((other, _),) = free.found(model, [prompt], found)
            assert one["score"] == other["score"] == float(changed is None)
            assert one["logprob"] == other["logprob"]
            scores.append(one["score"])
    assert set(scores) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("written", "score", "leading", "answer"),
    [("1234567", 1.0, 1.0, "1234567"), ("1234667", 0.0, 4 / 7, "12346"), ("2234567", 0.0, 0.0, "2")],
)
def test_scores_of_known_answers(
    model: ssmax_eval.Model, written: str, score: float, leading: float, answer: str
) -> None:
    ids, choices = (
        model.tokenizer(f" {number}", add_special_tokens=False)["input_ids"] for number in ("1234567", written)
    )
    prompt = Prompt([5, 6, *ids], 2, 3, (0, 1), 0.5, "", 0, "Rome", "1234567")
    logprobs = torch.full((len(ids),), -0.5)
    values = scored(model.tokenizer, prompt, logprobs, torch.tensor(choices))
    assert values == {"score": score, "leading_digits": leading, "logprob": -0.5, "answer": answer}


def test_loss_by_position_is_that_of_one_long_pass(model: ssmax_eval.Model) -> None:
    """The mean over the first L positions of a long document is the loss of its first L tokens alone."""
    task = Loss(lengths=(200,), documents=1)
    (found,) = task.bind(model)(task.cells())
    ids = task.cut(model.tokenizer, 200)[0].ids
    assert found.rows["position"] == range(1, 200)
    short = model.token_losses(ids[:50])
    assert found.rows["nll"][:49] == pytest.approx(short.tolist(), abs=1e-4)


def test_documents_of_the_built_in_text(model: ssmax_eval.Model) -> None:
    documents = Loss(lengths=(3000,), documents=5).cut(model.tokenizer, 3000)
    assert [len(document.ids) for document in documents] == [3000] * 5
    assert len({tuple(document.ids) for document in documents}) == 5
    from pydoc_data.topics import topics

    for name, ids, *_ in documents:
        assert topics[name].strip().startswith(model.tokenizer.decode(ids[:20]))


def test_documents_of_given_texts_take_turns(model: ssmax_eval.Model, tmp_path: Path) -> None:
    words = {name: " ".join(f"{name}{i}" for i in range(300)) for name in ("left", "right")}
    for name, content in words.items():
        (tmp_path / f"{name}.txt").write_text(content)
    (tmp_path / "more.jsonl").write_text(json.dumps({"text": words["left"].upper()}) + "\n\n")
    task = Loss(lengths=(400,), documents=5, texts=(str(tmp_path),))
    documents = task.cut(model.tokenizer, 400)
    assert [document.source for document in documents] == ["left", "more:1", "right", "left", "more:1"]
    first, second = (model.tokenizer.decode(documents[i].ids) for i in (0, 3))
    assert words["left"].startswith(first + second)
    with pytest.raises(UserError, match="documents of 400 tokens, not 50"):
        tasks.overridden(task, {"documents": 50}).bind(model)


def test_needle_scores_are_key_mass(model: ssmax_eval.Model) -> None:
    task = KeyAttention(lengths=(256,), depths=(0.5,), trials=1)
    (found,) = task.bind(model)(task.cells())
    prompt = task.haystack(model.tokenizer)[0].prompt(task.cells()[0])
    wanted = model.key_mass(prompt.ids[: prompt.digit_start], *prompt.key)
    answering = [i for i, p in enumerate(found.rows["position"]) if p == found.values["answer_position"]]
    assert found.values["answer_position"] == prompt.digit_start - 1
    mine = [found.rows["needle_score"][i] for i in answering]
    assert mine == pytest.approx(wanted.flatten().tolist(), abs=1e-6)
    assert [(found.rows["layer"][i], found.rows["head"][i]) for i in answering] == [
        (layer, head) for layer in range(2) for head in range(4)
    ]


def test_fading_statistics_are_those_of_the_weights(model: ssmax_eval.Model) -> None:
    task = KeyAttention(lengths=(256,), depths=(0.0,), trials=1)
    (found,) = task.bind(model)(task.cells())
    prompt = task.haystack(model.tokenizer)[0].prompt(task.cells()[0])
    rows: dict[str, Any] = dict(found.rows)
    positions = sorted(set(rows["position"]))
    assert positions == sorted([4, 8, 16, 32, 64, 128, prompt.digit_start - 1])
    weights = model.attention_rows(prompt.ids, torch.tensor(positions), lambda a: a[0].double())
    for i in range(0, len(rows["layer"]), 5):
        row = {name: column[i] for name, column in rows.items()}
        a = weights[row["layer"]][row["head"], positions.index(row["position"])]
        a = a[a > 0]
        assert row["max_weight"] == pytest.approx(float(a.max()), rel=1e-5)
        assert row["entropy"] == pytest.approx(float(-(a * a.log()).sum()), rel=1e-4, abs=1e-6)
        assert row["effective_keys"] == pytest.approx(float((-(a * a.log()).sum()).exp()), rel=1e-4)


def test_growing_a_grid_keeps_its_identity_and_nothing_else_does(tmp_path: Path) -> None:
    task = tasks.load("niah")
    keeping: list[dict[str, Any]] = [{"lengths": [64, 128]}, {"depths": [0.1]}, {"trials": 99}]
    for change in keeping:
        assert tasks.overridden(task, change).identity() == task.identity()
    (tmp_path / "a.txt").write_text("Some other text.")
    others: list[dict[str, Any]] = [{"seed": 1}, {"digits": 5}, {"question": "?"}, {"texts": [str(tmp_path / "a.txt")]}]
    for change in others:
        assert tasks.overridden(task, change).identity() != task.identity()


def test_batches_hold_one_length() -> None:
    cells = [Cell(8, document=i) for i in range(3)] + [Cell(16, document=0)]
    batches = list(Loss(lengths=(8, 16)).batches(cells, 2))
    assert [[c.context_length for c in batch] for batch in batches] == [[8, 8], [8], [16]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("task: niah\nlengths: [5", "not readable as YAML"),
        ("just text", "must be a mapping"),
        ("task: niahh\nlengths: [512]", "unknown task 'niahh'; did you mean 'niah'"),
        ("task: niah\nlengths: [512]\ndepht: 1", "'depht'; did you mean 'depths'"),
        ("task: niah\nlengths: many", "'lengths' in .* must be a whole number; got 'many'"),
        ("task: niah", "lacks 'lengths'"),
        ("task: niah\nlengths: [512]\ndepths: [2]", "between 0"),
        ("task: niah\nlengths: [512]\nneedle: nothing", "must contain"),
        ("task: niah\nlengths: [512]\nscoring: judge", "unknown scoring 'judge'"),
        ("task: loss\nlengths: []", "2 tokens or more"),
    ],
)
def test_mistakes_in_a_task_file_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        tasks.load(str(path))


def test_the_catalogue_says_what_the_classes_say() -> None:
    for name, cls in tasks.TASKS.items():
        assert (cls.kind, tasks.TASKS.name_of(cls)) == (name, name)
        assert tasks.TASKS.about(name)
        assert cls.quantities or name == "harness"  # its numbers are those of a benchmark
    assert {tasks.load(name).kind for name in tasks.settings()} == set(tasks.TASKS) - {"harness"}


@pytest.mark.parametrize("name", tasks.settings())
def test_every_shipped_task_loads(name: str) -> None:
    task = tasks.load(name)
    assert task.needs() or task.cells()
    assert bool(task.needs()) == (task.kind in ("qa", "prompts")), "these two need a file of the user's"
