"""Prompts of a file: each is asked as it is written, stands at its length, and is told from others by its content."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tokenizers.processors import TemplateProcessing

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import Model
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.stored import find
from ssmax_eval.tasks import load
from ssmax_eval.tasks.own_prompts import Prompts
from tests.conftest import make_tokenizer

RULER: dict[str, Any] = {
    "index": 7,
    "length_w_model_temp": 90,
    "answer_prefix": " The numbers are",
    "token_position": 3,
}
ROWS: list[dict[str, Any]] = [
    {**RULER, "input": "Two numbers, 17 and 4, are here. Which?", "outputs": ["17", "4"], "length": 90, "hops": 1},
    {**RULER, "input": "Three numbers: 5, 8 and 9.", "outputs": ["5", "8", "9"], "length": 128, "hops": 2},
    {**RULER, "input": "One number: 6. " * 12, "outputs": ["6"], "length": 129, "hops": 2},
    {**RULER, "input": "One number: 7. " * 12, "outputs": "7", "length": 200, "hops": 1},
]


def written(folder: Path, rows: list[dict[str, Any]], name: str = "validation.jsonl") -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def data(tmp_path: Path) -> str:
    return written(tmp_path, ROWS)


@pytest.fixture(scope="module")
def checkpoint(tiny_folder: Path) -> Checkpoint:
    return Checkpoint(str(tiny_folder))


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> Model:
    return ssmax_eval.load(str(tiny_folder), "softmax")


def own(data: str, **changes: Any) -> Prompts:
    return Prompts(**{"data": data, "max_new_tokens": 5, **changes})


def without(*names: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in names} for row in ROWS]


def measured(task: Prompts, model: Model) -> list[Measurement]:
    measure = task.bind(model)
    return [found for batch in task.batches(task.cells(), 1) for found in measure(batch)]


def test_a_file_of_ruler_is_asked_as_it_is_written(data: str, checkpoint: Checkpoint, model: Model) -> None:
    task = own(data).on(checkpoint)
    found = {dict(one.cell.extra)["line"]: one for one in measured(task, model)}
    assert set(found) == {1, 2, 3, 4}
    for line, row in enumerate(ROWS, start=1):
        values = found[line].values
        text = task.prompt(found[line].cell, model.tokenizer)
        assert text == row["input"] + row["answer_prefix"]
        ids = model.tokenizer(text)["input_ids"]
        assert values["actual_length"] == len(ids) + 5
        assert values["answer"] == model.generate(ids, 5)
        expected = [row["outputs"]] if isinstance(row["outputs"], str) else row["outputs"]
        assert json.loads(str(values["expected"])) == expected
        said = str(values["answer"]).lower()
        assert values["score"] == pytest.approx(sum(one in said for one in expected) / len(expected))


def test_a_prompt_stands_at_the_power_of_two_above_its_length(
    tmp_path: Path, data: str, checkpoint: Checkpoint
) -> None:
    def places(task: Prompts) -> dict[Any, int]:
        return {dict(cell.extra)["line"]: cell.context_length for cell in task.cells()}

    assert places(own(data)) == places(own(data).on(checkpoint)) == {1: 128, 2: 128, 3: 256, 4: 256}
    counted = own(written(tmp_path, without("length"), "other.jsonl")).on(checkpoint)
    for line, length in places(counted).items():
        ids = checkpoint.tokenizer(counted.lines[line].input + " The numbers are", add_special_tokens=False)[
            "input_ids"
        ]
        assert length / 2 < max(len(ids) + 5, 65) <= length
    assert set(places(counted).values()) == {128, 256}
    with pytest.raises(UserError, match=r"line 1 of .* has no 'length'"):
        own(str(tmp_path / "other.jsonl")).cells()


def test_lengths_trials_and_max_length_choose_among_the_lines(
    data: str, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    assert own(data, lengths=(256,)).on(checkpoint).lengths == (256,)
    assert own(data).on(checkpoint).lengths == (128, 256)
    assert [dict(cell.extra)["line"] for cell in own(data, trials=1).cells()] == [1, 3]
    assert len(own(data, trials=1, group=("hops",)).cells()) == 4
    with pytest.raises(
        UserError, match=r"no prompt of .* stands at the lengths asked for; there are 128 \(2\), 256 \("
    ):
        own(data, lengths=(512,)).on(checkpoint)
    plan = prepare(checkpoint, "softmax", "prompts", str(tmp_path / "runs"), settings={"data": data}, max_length=128)
    assert [cell.context_length for cells in plan.todo.values() for cell in cells] == [128, 128]


def test_groups_are_coordinates(data: str) -> None:
    cells = own(data, group=("hops", "index as task_number")).cells()
    assert Cell.of(128, line=1, hops=1, task_number=7) in cells
    assert {dict(cell.extra)["hops"] for cell in cells} == {1, 2}


def test_prompts_that_begin_alike_stand_together(tmp_path: Path) -> None:
    rows = [{"input": f"{'ab'[i % 2]} {i}", "outputs": "x", "length": 9} for i in range(6)]
    cells = own(written(tmp_path, rows)).cells()
    assert [dict(cell.extra)["line"] for cell in cells] == [1, 3, 5, 2, 4, 6]


def test_the_chat_template_and_thinking(data: str) -> None:
    tokenizer = make_tokenizer()
    cell = Cell.of(128, line=2)
    body = f"<|user|>{ROWS[1]['input']}<|end|><|assistant|>"
    assert own(data, chat_template=True).prompt(cell, tokenizer) == body + " The numbers are"
    assert own(data, chat_template=True, thinking=8).prompt(cell, tokenizer) == body
    assert own(data).prompt(cell, tokenizer) == ROWS[1]["input"] + " The numbers are"


def test_a_beginning_that_the_file_writes_stands_once(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A", special_tokens=[("<|bos|>", 0)]
    )
    rows = [{"input": f"{begin}Say 6.", "outputs": "6", "length": 9} for begin in ("", "<|bos|>")]
    task = own(written(tmp_path, rows))
    ask = task.asking(task.frame(tokenizer))
    first, second = (list(ask(Cell.of(128, line=line)).ids) for line in (1, 2))
    assert first == second
    assert first.count(0) == 1


def test_a_changed_file_is_another_run_and_a_moved_one_is_not(tmp_path: Path, data: str) -> None:
    (tmp_path / "b").mkdir()
    moved = written(tmp_path / "b", without("index"))
    assert own(moved).settings() == own(data).settings()
    changed = written(tmp_path, [*ROWS[:3], {**ROWS[3], "outputs": "8"}], "changed.jsonl")
    assert own(changed).settings()["data"] != own(data).settings()["data"]
    assert str(tmp_path) not in json.dumps(own(data).settings())


def test_parquet_holds_the_same_as_jsonl(tmp_path: Path, data: str) -> None:
    pytest.importorskip("pyarrow")
    rows = [
        {**row, "outputs": row["outputs"] if isinstance(row["outputs"], list) else [row["outputs"]]} for row in ROWS
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "p.parquet")
    assert own(str(tmp_path / "p.parquet")).settings()["data"] == own(data).settings()["data"]
    (tmp_path / "no.parquet").write_text("no")
    with pytest.raises(UserError, match="cannot read data"):
        own(str(tmp_path / "no.parquet")).cells()


def test_a_run_goes_on_and_can_be_looked_into(data: str, tiny_folder: Path, tmp_path: Path) -> None:
    score = tmp_path / "mine.py"
    score.write_text("def always(answer, expected):\n    return 1\n")
    settings = {"data": data, "max_new_tokens": 2, "scoring": f"{score}:always"}
    runs = str(tmp_path / "runs")
    frame = ssmax_eval.evaluate(str(tiny_folder), "softmax", "prompts", runs, lengths=[128], settings=settings)
    assert sorted(frame["line"]) == [1, 2]
    plan = prepare(str(tiny_folder), "softmax", "prompts", runs, settings=settings)
    (todo,) = plan.todo.values()
    assert {dict(cell.extra)["line"] for cell in todo} == {3, 4}
    assert set(frame["score"]) == {1.0}
    (folder,) = (path for path in Path(runs).iterdir() if path.is_dir())
    cell = find(str(folder), "line=2")
    assert cell.prompt() == ROWS[1]["input"] + " The numbers are"
    assert '["5", "8", "9"]' in cell.show()
    Path(data).write_text(Path(data).read_text().replace("Three numbers", "3 numbers"))
    with pytest.raises(UserError, match=r"the content of data '.*validation.jsonl' is not what was measured"):
        find(str(folder), "line=2")


def test_a_table_of_positions_ends_what_can_be_asked(data: str, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "max_positions", 30)
    with pytest.raises(
        UserError, match=r"line \d of .* takes \d+ tokens .* a table of 30 positions; give --max-length"
    ):
        own(data).bind(model)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"outputs": "6"}, r"line 1 of .* has no 'input'; it has outputs"),
        ({"input": "a"}, r"has no 'outputs'; it has input"),
        ({"input": ["a"], "outputs": "6"}, "'input' in line 1 .* must be a text; got"),
        ({"input": "a", "outputs": []}, "'outputs' in line 1 .* must be a text or a list of texts; got"),
        ({"input": "a", "outputs": [None]}, "must be a text or a list of texts"),
        ({"input": "a", "outputs": "6", "length": "9"}, "'length' in line 1 .* must be a number of tokens; got '9'"),
        ({"input": "a", "outputs": "6", "answer_prefix": 1}, "'answer_prefix' in line 1 .* must be a text; got 1"),
        ({"input": "\ud800", "outputs": "6"}, "'input' in line 1 .* holds half of a character"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        own(written(tmp_path, [row])).cells()


@pytest.mark.parametrize("group", [float("nan"), float("inf"), 10**30, "a" * 1000])
def test_a_group_that_no_result_can_hold_is_refused(tmp_path: Path, group: float | str) -> None:
    file = written(tmp_path, [{"input": "a", "outputs": "6", "kind": group}])
    with pytest.raises(UserError, match=r"'kind' in line 1 .* must be a finite number below 2.63, or at most 200 char"):
        own(file, group=("kind",)).cells()


def test_a_group_of_half_a_character_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, [{"input": "a", "outputs": "6", "kind": "\ud800"}])
    with pytest.raises(UserError, match=r"'kind' in line 1 .* holds half of a character"):
        own(file, group=("kind",)).cells()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lengths": (1000,)}, "lengths of prompts must be powers of two"),
        ({"group": ("line",)}, "results have a column 'line' already"),
        ({"group": ("a", "b as a")}, "results have a column 'a' already"),
        ({"data": "x.csv"}, r"data must be a \*.jsonl or \*.parquet, or hub:org/name; given 'x.csv'"),
        ({"data": "none.jsonl"}, "cannot read data 'none.jsonl'"),
        ({"group": ("colour",)}, "has no 'colour'"),
    ],
)
def test_wrong_settings_are_one_line(data: str, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        own(**{"data": data, **changes}).cells()


def test_without_data_it_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lacks 'data'"):
        load("prompts")
    for content, says in (("[1]\n", "must be a JSON object"), ("{\n", "is not JSON"), ("\n", "holds no prompt")):
        (tmp_path / "x.jsonl").write_text(content)
        with pytest.raises(UserError, match=says):
            own(str(tmp_path / "x.jsonl")).cells()
