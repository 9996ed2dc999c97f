"""A task that answers: exact lengths, the answer's budget, scores, and what was cut off."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import ssmax_eval
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import Completion, Model, Request
from ssmax_eval.tasks.answering import AnswerTask, Ask, Prompt
from ssmax_eval.tasks.fitting import Fitter
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.prompts import random_of


@dataclass(frozen=True, kw_only=True)
class Lines(AnswerTask):
    """A number among lines."""

    def asking(self, frame: Frame) -> Ask:
        fitter = Fitter(frame)

        def ask(cell: Cell) -> Prompt:
            number = str(random_of(self.seed, cell.coordinates()).randrange(1000, 10_000))

            def build(units: int, padding: str) -> str:
                lines = ["Nothing here."] * units + [f"The number is {number}.", *[padding] * bool(padding)]
                return frame.text("\n".join([*lines, "Which number?"]), "" if self.thinking else "It is")

            found = fitter.fit(build, cell.context_length - self.budget, budget=self.budget)
            return Prompt(found.text, found.ids, (number,), {"lines": found.units})

        return ask


def lines(**changes: Any) -> Lines:
    return Lines(**{"lengths": (96, 128), "trials": 3, "max_new_tokens": 6, **changes})


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> Model:
    return ssmax_eval.load(str(tiny_folder), "softmax")


def measured(task: Lines, model: Model) -> list[Measurement]:
    measure = task.bind(model)
    return [found for batch in task.batches(task.cells(), 1) for found in measure(batch)]


def test_a_cell_holds_what_a_model_writes_after_its_prompt(model: Model) -> None:
    task = lines()
    for found in measured(task, model):
        values = found.values
        text = task.prompt(found.cell, model.tokenizer)
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert len(ids) + 6 == values["actual_length"] == found.cell.context_length
        assert values["answer"] == model.generate(ids, 6)
        expected = json.loads(str(values["expected"]))
        assert f"The number is {expected[0]}." in text
        assert values["score"] == float(expected[0] in str(values["answer"]))
        assert values["ended"] in ("end", "budget")
        assert values["cut"] == float(values["ended"] == "budget")
        assert "thought_cut" not in values


def test_a_thought_is_part_of_the_length_and_what_was_cut_is_said(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Request] = []

    def complete(self: Model, requests: Sequence[Request]) -> Iterator[Completion]:
        for request in requests:
            asked.append(request)
            yield Completion("I'm sorry, I cannot say.", 6, "budget", "Let me see", 10, True)

    monkeypatch.setattr(Model, "complete", complete)
    task = lines(thinking=10, stop=("\n",), thinking_end="</t>")
    found = measured(task, model)
    assert {len(request.ids) for request in asked} == {96 - 16, 128 - 16}
    closing = len(model.tokenizer("</t>", add_special_tokens=False)["input_ids"])
    wanted_of_each = (6, ("\n",), 10 - closing, "</t>")
    assert {(r.max_new_tokens, r.stop, r.thinking, r.thinking_end) for r in asked} == {wanted_of_each}
    for one in found:
        wanted = {"score": 0.0, "cut": 1.0, "refused": 1.0, "empty": 0.0, "thought_tokens": 10, "thought_cut": 1.0}
        assert wanted.items() <= one.values.items()


def test_a_prompt_that_gives_nan_fails_alone(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = lines().prompt(Cell(96, trial=1), model.tokenizer)

    def complete(self: Model, requests: Sequence[Request]) -> Iterator[Completion]:
        for request in requests:
            if self.tokenizer.decode(request.ids) == bad:
                raise UserError("the model gave NaN")
            yield Completion("yes", 1, "end")

    monkeypatch.setattr(Model, "complete", complete)
    errors = [found.error for found in measured(lines(lengths=(96,)), model)]
    assert errors == [None, "the model gave NaN", None]


def test_a_prompt_that_cannot_be_made_fails_alone(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    task = lines(lengths=(700,))  # beyond the length up to which all prompts are made first
    asking = type(task).asking

    def broken(self: Lines, frame: Frame) -> Ask:
        ask = asking(self, frame)

        def asked(cell: Cell) -> Prompt:
            if cell.trial == 1:
                raise UserError("nothing is left to draw")
            return ask(cell)

        return asked

    monkeypatch.setattr(Lines, "asking", broken)
    errors = [found.error for found in sorted(measured(task, model), key=lambda found: found.cell.trial or 0)]
    assert errors == [None, "nothing is left to draw", None]


def test_an_answer_that_cannot_be_scored_fails_alone(model: Model, tmp_path: Path) -> None:
    file = tmp_path / "scoring.py"
    right = [task.prompt(cell, model.tokenizer) for task in [lines(lengths=(96,))] for cell in task.cells()]
    numbers = [text.split("The number is ")[1][:4] for text in right]
    file.write_text(f"def score(answer, expected):\n    return 2 if expected == [{numbers[1]!r}] else 0.5\n")
    found = measured(lines(lengths=(96,), scoring=f"{file}:score"), model)
    assert [one.cell.trial for one in found] == [0, 1, 2]
    assert [one.values.get("score") for one in found] == [0.5, None, 0.5]
    assert "must return a number from 0 to 1; got 2" in str(found[1].error)


def test_a_thought_needs_room_for_its_end(model: Model) -> None:
    with pytest.raises(UserError, match=r"thinking must be more than the \d+ tokens that end it; given 1"):
        lines(thinking=1).bind(model)


def test_a_prompt_depends_on_its_cell_alone(model: Model) -> None:
    whole, part = lines(), lines(lengths=(128,), trials=1)
    cell = Cell(128, trial=0)
    assert whole.prompt(cell, model.tokenizer) == part.prompt(cell, model.tokenizer)
    assert whole.prompt(cell, model.tokenizer) != lines(seed=1).prompt(cell, model.tokenizer)
    assert whole.prompt(cell, model.tokenizer) != whole.prompt(Cell(128, trial=1), model.tokenizer)


def test_show_says_what_was_asked_and_its_digest_is_stored(model: Model) -> None:
    task = lines()
    found = measured(task, model)[0]
    shown = task.show(found, model.tokenizer)
    assert "Which number?" in shown
    assert str(found.values["expected"]) in shown
    assert task.prompt_digest(found.cell, model.tokenizer) == found.values["prompt_digest"]
    assert lines(seed=7).prompt_digest(found.cell, model.tokenizer) != found.values["prompt_digest"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trials": 0}, "trials and max_new_tokens must be 1 or more"),
        ({"max_new_tokens": 0}, "given 3, 0 and 0"),
        ({"stop": ("",)}, "must not be empty"),
        ({"scoring": "contain_all"}, "unknown scoring 'contain_all'.*contains_all"),
        ({"preset": "a b"}, "preset must be a name"),
    ],
)
def test_wrong_settings_are_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        lines(**changes)


def test_a_length_that_cannot_be_is_refused_before_anything_is_measured(model: Model) -> None:
    with pytest.raises(UserError, match=r"context length 20 is too short: .* need \d+ tokens"):
        lines(lengths=(128, 20)).bind(model)


def test_a_preset_names_its_numbers_and_is_another_run() -> None:
    plain, named = lines(), lines(preset="my_lines")
    assert (plain.name, named.name) == ("lines", "my_lines")
    assert named.numbers()[0].title == "answers right (my_lines)"
    assert "preset" not in plain.settings()
    assert named.settings()["preset"] == "my_lines"
