"""All needles in one haystack: exact lengths, one text for a column, and the numbers of a cold run."""

from pathlib import Path

import pytest

import ssmax_eval
from ssmax_eval import tasks
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.model import running
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import measure
from ssmax_eval.store import Store, read_results
from ssmax_eval.tasks.dense import NiahDense
from ssmax_eval.tasks.niah import scored
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()
DEPTHS = (0.0, 0.2, 0.5, 0.8, 1.0)
SHORT = str(Path(__file__).parents[1] / "data" / "emma.txt")
"""A text that is tokenized in a moment."""


@pytest.mark.parametrize("length", [512, 777, 2048])
@pytest.mark.parametrize("chat", [True, False])
def test_a_column_is_one_text_of_exact_length(length: int, chat: bool) -> None:
    task = NiahDense(lengths=(length,), depths=DEPTHS, trials=2, chat_template=chat, texts=(SHORT,))
    haystack, _ = task.haystack(TOKENIZER)
    for trial in range(2):
        prompts = [haystack.prompt(cell) for cell in task.cells() if cell.trial == trial]
        assert len({p.city for p in prompts}) == len({p.number for p in prompts}) == len(DEPTHS)
        for prompt, depth in zip(prompts, DEPTHS, strict=True):
            assert len(prompt.ids) == length
            assert TOKENIZER.decode(prompt.ids[slice(*prompt.key)]) == prompt.number
            assert TOKENIZER.decode(prompt.ids[prompt.answer_start :]) == f" {prompt.number}"
            assert TOKENIZER(prompt.text, add_special_tokens=False)["input_ids"] == prompt.ids
            assert prompt.depth == pytest.approx(depth, abs=0.12 if length > 777 else 0.4)
            for other in prompts:
                assert f"The special magic number for {other.city} is {other.number}." in prompt.text
                assert prompt.text.count(other.number) == 1 + (other is prompt)
        texts = [p.text.partition("What is the special")[0] for p in prompts]
        shared = (
            min(len(t) for t in texts) - len(f"\n\nThe special magic number for {prompts[-1].city} is 1234567.") - 60
        )
        assert len({text[:shared] for text in texts}) == 1
        assert [p.key[0] for p in prompts] == sorted(p.key[0] for p in prompts)


def test_other_depths_are_another_run() -> None:
    one = NiahDense(lengths=(600,), depths=DEPTHS)
    assert tasks.overridden(one, {"depths": [0.0, 1.0]}).identity() != one.identity()
    assert tasks.overridden(one, {"trials": 9, "lengths": [64]}).identity() == one.identity()


@pytest.mark.parametrize("attention", ["softmax", "ssmax:s=0.3", "lssar:p=3"])
def test_cells_are_what_a_cold_run_of_the_shown_prompt_gives(tiny_folder: Path, tmp_path: Path, attention: str) -> None:
    from ssmax_eval.run.stored import find

    checkpoint = Checkpoint(str(tiny_folder), dtype="float64")
    task = NiahDense(lengths=(512,), depths=DEPTHS, trials=1, digits=5, texts=(SHORT,))
    with running(checkpoint, checkpoint.load(), ssmax_eval.attention.parse(attention)) as model:
        run = Run(checkpoint, model.attention, task)
        session = {"given": {"checkpoint": str(tiny_folder), "texts": [SHORT]}}
        measure(run, model, Store(tmp_path), task.cells(), session=session)
        for depth in DEPTHS:
            cell = f"context_length=512,depth={depth},trial=0"
            stored = find(str(tmp_path / run.name), cell)
            prompt = task.haystack(model.tokenizer)[0].prompt(Cell(512, depth=depth, trial=0))
            assert stored.prompt() == prompt.text[: prompt.answer_at]
            logprobs, chosen, _ = model.answer(prompt.ids, len(prompt.ids) - prompt.answer_start)
            values = stored.measurement.values
            for name, value in scored(model.tokenizer, prompt, logprobs[0], chosen[0]).items():
                assert values[name] == (pytest.approx(value, abs=1.1e-6) if isinstance(value, float) else value)
            assert prompt.number in stored.show()
    frame = read_results(tmp_path)
    from ssmax_eval.report import tables

    assert set(tables.by_depth(frame, "score")["depth"]) == set(DEPTHS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": [0.5, 0.5]}, "all different"),
        ({"depths": [i / 99 for i in range(70)]}, "at most"),
        ({"needle": "The number is {number}."}, "tells the needles"),
    ],
)
def test_needles_must_be_told_apart(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tasks.overridden(NiahDense(lengths=(600,)), change)
