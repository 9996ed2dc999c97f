"""Shards: parts that follow from the cells alone, and processes that share a run without losing or repeating a cell."""

import json
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmax_eval import read_results
from ssmax_eval.attention import parse as parse_attention
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.files import append_line
from ssmax_eval.measurement import Cell
from ssmax_eval.run.choosing import Say, log
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.forecast import forecasts
from ssmax_eval.run.identity import Run
from ssmax_eval.run.plan import Plan, execute
from ssmax_eval.run.shards import Shard, parse, part
from ssmax_eval.store import Store, lines, pack, read_runs, writing
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import Niah
from ssmax_eval.tasks.own_prompts import Prompts
from tests.cli.typed import call

Parts = list[dict[Run, list[Cell]]]


@pytest.fixture(scope="module")
def checkpoint(tiny_folder: Path) -> Checkpoint:
    return Checkpoint(str(tiny_folder))


def work(length: int) -> int:
    """As a model's: in proportion to the length at first, then to its square."""
    return 1000 * length + length * length


def parts(grid: Mapping[Run, Sequence[Cell]], count: int) -> Parts:
    return [part(grid, Shard(number, count), work) for number in range(1, count + 1)]


def cost(cells: Sequence[Cell]) -> int:
    return sum(work(cell.context_length) for cell in cells)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.sampled_from((64, 200, 1000, 4096, 30_000)), min_size=1, max_size=4, unique=True),
    st.integers(1, 6), st.integers(1, 12), st.integers(1, 5), st.integers(1, 9),
)  # fmt: skip
def test_parts_are_whole_even_and_follow_from_the_cells(
    checkpoint: Checkpoint, lengths: list[int], trials: int, depths: int, documents: int, count: int
) -> None:
    niah = Niah(lengths=tuple(lengths), trials=trials, depths=tuple(i / 12 for i in range(depths)))
    more = Niah(lengths=(*lengths, 128), trials=1, depths=niah.depths)  # the same run, with cells that niah has too
    loss = Loss(lengths=tuple(lengths), documents=documents)
    softmax, ssmax = (parse_attention(name).resolve(checkpoint.shape) for name in ("softmax", "ssmax"))
    grid = {Run(checkpoint, *one): one[1].cells() for one in product((softmax, ssmax), (niah, loss, more))}
    found = parts(grid, count)

    names = [{(run.name, cell) for run, cells in one.items() for cell in cells} for one in found]
    assert sum(map(len, names)) == len(set.union(*names))  # no cell twice
    for run, cells in grid.items():
        mine = [cell for one in found for cell in one[run]]
        assert set(mine) == set(cells)
        assert all(one[run] == [cell for cell in cells if cell in set(one[run])] for one in found)  # in order

    unique = {(run.name, cell): work(cell.context_length) for run, cells in grid.items() for cell in cells}
    share = sum(unique.values()) / count
    columns: dict[Any, list[Cell]] = {}
    for name, cell in unique:
        columns.setdefault((name, cell.context_length, cell.trial, cell.document), []).append(cell)
    largest = max(map(cost, columns.values()))
    for (name, *_), column in columns.items():
        if cost(column) < 2 * share:
            assert len({i for i, there in enumerate(names) for cell in column if (name, cell) in there}) == 1
    for there in names:
        load = sum(unique[one] for one in there)
        assert load <= share + min(largest, 2 * share + max(unique.values()))

    backwards = dict(reversed([(run, cells[::-1]) for run, cells in grid.items()]))
    again = parts(backwards, count)
    assert all(set(old[run]) == set(new[run]) for old, new in zip(found, again, strict=True) for run in grid)


def test_a_usual_grid_is_even_though_its_lengths_are_not(checkpoint: Checkpoint) -> None:
    task = Niah(lengths=tuple(1024 << i for i in range(6)), trials=10, depths=tuple(i / 10 for i in range(11)))
    grid = {Run(checkpoint, parse_attention("softmax").resolve(checkpoint.shape), task): task.cells()}
    for count, most in ((2, 1.001), (4, 1.09), (16, 1.25)):
        loads = [cost(cells) for one in parts(grid, count) for cells in one.values()]
        assert max(loads) <= most * sum(loads) / count
    numbers = [len(cells) for one in parts(grid, 16) for cells in one.values()]
    assert max(numbers) > 5 * min(numbers)  # even in cost, not in number


def test_prompts_that_begin_alike_stay_together(tmp_path: Path) -> None:
    books = {name: f"{name} " + name * 200 for name in "ab"}
    lines = [{"input": f"{books[name]} {i}?", "outputs": "x", "length": 300} for i in range(3) for name in "ab"]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    task = Prompts(data=str(tmp_path / "data.jsonl"))
    groups = [[dict(cell.extra)["line"] for cell in group] for group in task.together(task.cells())]
    assert groups == [[1, 3, 5], [2, 4, 6]]


def planned(folder: Path, root: Path, shard: str | Shard | None = None, say: Say = log.info) -> Plan:
    """Two tasks, on a text of a few kB, since every process reads the whole of it into tokens."""
    text = folder.parent / "text.txt"
    if not text.exists():
        text.write_text(topics["strings"])
    return prepare(
        str(folder), "ssmax", ["niah", "loss"], root, lengths=[200, 256], depths=[0, 1], trials=3,
        documents=3, texts=text, shard=shard, say=say,
    )  # fmt: skip


def command(folder: Path, root: Path, shard: str | None, dies_after: int | None) -> None:
    """Do what one command does, in a process of its own; die in the middle of a line after so many cells."""
    torch.set_num_threads(1)  # a fork has none of the other threads of its parent
    plain, count = append_line, Counter[str]()

    def append(path: Path, line: str) -> None:
        count[path.name.partition(".")[0]] += 1
        if count["cells"] - 1 == dies_after and path.name.startswith("cells"):
            with path.open("a") as file:
                file.write(line[:40])
            os.kill(os.getpid(), signal.SIGKILL)
        plain(path, line)

    writing.append_line = append  # type: ignore[attr-defined]
    execute(planned(folder, root, shard), batch_size=1, progress=False)


def together(folder: Path, root: Path, shards: Sequence[str | None], dies: str = "") -> list[int | None]:
    """Run commands at the same time, of which one dies, and return their exit codes."""
    context = multiprocessing.get_context("fork")  # a new interpreter would import torch for seconds
    processes = [
        context.Process(target=command, args=(folder, root, shard, 2 if shard == dies else None)) for shard in shards
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def numbers(root: Path) -> dict[str, dict[Cell, Any]]:
    """What a store holds, without times."""
    return {
        name: {cell: (one.error, one.values, one.rows) for cell, one in Store(root).cells(name).items()}
        for name in read_runs(root)
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_four_processes_of_which_one_is_killed_then_three(tiny_folder: Path, tmp_path: Path) -> None:
    whole, root = tmp_path / "whole", tmp_path / "shards"
    assert together(tiny_folder, whole, [None]) == [0]
    first = [f"{number}/4" for number in range(1, 5)]
    assert together(tiny_folder, root, first, dies="3/4") == [0, 0, -signal.SIGKILL, 0]
    left = planned(tiny_folder, root)
    killed = planned(tiny_folder, root, "3/4")
    assert sum(map(len, left.todo.values())) == sum(map(len, killed.todo.values())) == sum(
        map(len, killed.cells.values())
    ) - 2  # fmt: skip
    assert list(root.glob("*/attempt.3-of-4.json"))
    before = [planned(tiny_folder, root, f"{number}/3").cells for number in (1, 2, 3)]
    assert before == [planned(tiny_folder, tmp_path / "empty", f"{number}/3").cells for number in (1, 2, 3)]
    assert together(tiny_folder, root, ["1/3", "2/3", "3/3"]) == [0, 0, 0]

    assert numbers(root) == numbers(whole)
    stored = [one.measurement.cell for path in root.glob("*/cells*.jsonl") for one in lines.stored_cells(path)]
    assert len(stored) == sum(len(run.task.cells()) for run in left.runs)  # none was measured twice
    assert not list(root.glob("*/cells.jsonl"))
    frame = read_results(root)
    assert frame.groupby("task", observed=True)["status"].count().to_dict() == (
        read_results(whole).groupby("task", observed=True)["status"].count().to_dict()
    )
    sessions = [line for run in read_runs(root).values() for line in run["sessions"]]
    assert {line["shard"] for line in sessions} <= {*first, "1/3", "2/3", "3/3"}

    for folder in root.iterdir():
        pack(folder)
    assert numbers(root) == numbers(whole)
    assert not any(planned(tiny_folder, root, "2/5").todo.values())


def test_the_dry_run_of_a_shard_is_its_part(tiny_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    everything = forecasts(planned(tiny_folder, tmp_path))
    found = [forecasts(planned(tiny_folder, tmp_path, Shard(i, 3), said.append)) for i in (1, 2, 3)]
    for i, whole in enumerate(everything):
        assert sum(one[i].todo for one in found) == sum(one[i].cells for one in found) == whole.cells
        assert sum(one[i].tokens for one in found) == whole.tokens
    assert sum("% of the work" in line for line in said) == 3
    assert not list(tmp_path.iterdir())


def test_a_shard_without_cells_is_no_mistake(tiny_folder: Path, tmp_path: Path) -> None:
    line = ["run", tiny_folder, "--attention", "softmax", "--task", "loss", "--lengths", "64", "--documents", "1"]
    line += ["-o", tmp_path]
    result = call(*line, "--shard", "2/2")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Shard 2/2: 0 of 1 cell, 0.0% of the work" in result.stderr
    assert "Still missing, of all shards together: 1 cell." in result.stderr
    empty = json.loads(call(*line, "--shard", "2/2", "--json").stdout)
    assert (empty["results"], empty["runs"][0]["missing"]) == ([], 0)
    assert "for shard 1/2" in call(*line, "--shard", "1/2", "--dry-run").stdout
    result = call(*line, "--shard", "1/2")
    assert (result.exit_code, "Still missing, of all shards together: 0 cells." in result.stderr) == (0, True)
    assert "softmax" in result.stdout


SLURM = {"ID": 3, "MIN": 0, "MAX": 6, "COUNT": 4, "STEP": 2}


def environment(**changes: Any) -> dict[str, str]:
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in {**SLURM, **changes}.items()}


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ("3/16", {}, "03-of-16"),
        ("1/1", {}, "1-of-1"),
        ("auto", environment(ID=0), "1-of-4"),
        ("auto", environment(ID=6), "4-of-4"),
        ("auto", environment(ID=10, MIN=1, MAX=16, COUNT=16, STEP=1), "10-of-16"),
        ("auto", {**environment(ID=2), "RANK": "7", "WORLD_SIZE": "8"}, "2-of-4"),
        ("auto", {"RANK": "0", "WORLD_SIZE": "4"}, "1-of-4"),
    ],
)
def test_a_shard_is_given_or_numbered_by_the_batch_system(
    given: str, environment: dict[str, str], expected: str
) -> None:
    assert parse(given, environment).part == expected


@pytest.mark.parametrize(
    ("given", "environment", "said"),
    [
        ("0/4", {}, "given 0/4: the first is 1/4"),
        ("5/4", {}, "shards are 1/N to N/N"),
        ("1/0", {}, "given 1/0"),
        ("1/1000000", {}, "at most 100,000"),
        ("a/b", {}, "written 3/16, the third of sixteen, or auto; given 'a/b'"),
        ("3", {}, "given '3'"),
        ("", {}, "given ''"),
        ("auto", {}, "finds neither a Slurm array"),
        ("auto", {"RANK": "1"}, "finds neither a Slurm array"),
        ("auto", {"RANK": "4", "WORLD_SIZE": "4"}, "given 5/4"),
        ("auto", environment(ID=3), "needs a Slurm array of even steps"),
        ("auto", environment(ID=7, MIN=1, MAX=7, COUNT=3, STEP=1), "3 tasks from 1 to 7 in steps of 1"),
        ("auto", environment(ID="x"), "a whole number in SLURM_ARRAY_TASK_ID; it is 'x'"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "a whole number in SLURM_ARRAY_TASK_MIN; it is ''"),
    ],
)
def test_a_wrong_shard_is_one_line(given: str, environment: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(")) as caught:
        parse(given, environment)
    assert "\n" not in str(caught.value)
