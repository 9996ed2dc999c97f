"""The bench, end to end on the tiny checkpoint; nothing here depends on how long anything takes."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

import benchmarks as bench
from benchmarks.__main__ import main
from benchmarks.measuring import Comparison, Found, interleaved, ready
from benchmarks.record import Record
from benchmarks.table import short, table
from ssmax_eval.attention import ATTENTIONS
from ssmax_eval.errors import UserError

SMALL = ("--quick", "--lengths", "200,256")
ONE = ("--quick", "--lengths", "256")
CPU = torch.device("cpu")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)


@pytest.mark.slow
def test_the_whole_bench(tiny_folder: Path, tmp_path: Path) -> None:
    found = call(tiny_folder, *ONE, "-o", tmp_path)
    assert found.exit_code == 0, found.output
    assert "answers equal at 3 of 3 cells" in found.stdout
    assert found.stdout.count("answers equal at 3 of 3 prompts") == 3
    assert "losses differ by" in found.stdout
    assert "needle scores differ by" in found.stdout
    assert "% of what the machine's matrix product does" in found.stdout
    if importlib.util.find_spec("lm_eval") is None:
        assert found.stdout.count("not installed; pip install ssmax-eval[harness]") == 2
    else:
        assert found.stdout.count("log-likelihoods differ by") == 2
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert {found["section"] for found in stored["comparisons"].values()} == set(bench.SECTIONS)
    for name in ("time.png", "time.pdf", "memory.png", "memory.pdf"):
        assert (tmp_path / name).stat().st_size > 1000


def test_a_bench_goes_on(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: ATTENTIONS[name] for name in ("softmax", "ssmax", "lssar")}
    monkeypatch.setattr("benchmarks.attention.ATTENTIONS", few)
    parts = ("--only", "attention")
    first = call(tiny_folder, *ONE, *parts, "-o", tmp_path)
    assert first.exit_code == 0, first.output
    assert (tmp_path / "bench.md").read_text() == first.stdout.removesuffix("\n")
    stored = json.loads((tmp_path / "bench.json").read_text())
    layer = stored["comparisons"]["attention: one layer, 256 tokens"]
    assert set(layer["seconds"]) - {"lssar, no compiler"} == {*few, "fused causal sdpa"}
    assert all(len(times) == 1 and times[0] > 0 for times in layer["seconds"].values())
    assert {"processor", "threads", "torch", "transformers"} <= set(stored["machine"])

    del stored["comparisons"]["attention: one layer, 256 tokens"]  # as if it had been killed before that
    (tmp_path / "bench.json").write_text(json.dumps(stored))
    again = call(tiny_folder, *ONE, *parts, "-o", tmp_path)
    assert [line for line in again.stderr.splitlines() if line.endswith("...")] == [
        "attention: one layer, 256 tokens ..."
    ]
    kept = json.loads((tmp_path / "bench.json").read_text())["comparisons"]
    assert {key: kept[key] for key in stored["comparisons"]} == stored["comparisons"]
    assert len(kept) == len(stored["comparisons"]) + 1

    for name in ("bench.md", "time.png"):
        (tmp_path / name).unlink()
    drawn = call("--redraw", "-o", tmp_path)
    assert (drawn.exit_code, drawn.stdout) == (0, again.stdout)
    assert (tmp_path / "bench.md").read_text() == again.stdout.removesuffix("\n")
    assert (tmp_path / "time.png").stat().st_size > 1000
    assert json.loads((tmp_path / "bench.json").read_text())["comparisons"] == kept

    stored["machine"]["threads"] = 4096
    (tmp_path / "bench.json").write_text(json.dumps(stored))
    other = call(tiny_folder, *SMALL, "-o", tmp_path)
    assert other.exit_code == 2
    assert "another threads (4096, here" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "atention"], "unknown section 'atention'; did you mean 'attention'"),
        (["--lengths", "4"], "16 tokens or more; given [4]"),
        (["--lengths", "many"], "neither numbers"),
        (["--repeats", "0"], "--repeats"),
        (["--lengths", "32", "--only", "needle"], "too short"),
        (["--device", "toaster"], "no such device"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], message: str, tiny_folder: Path, tmp_path: Path
) -> None:
    result = call(tiny_folder, *arguments, "-o", tmp_path / "bench")
    assert result.exit_code == 2
    assert message in result.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "bench").exists()


def test_a_damaged_bench_is_said(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text("{")
    result = call(tiny_folder, *SMALL, "--only", "attention", "-o", tmp_path)
    assert result.exit_code == 2
    assert "cannot be read as a bench" in result.stderr


def test_there_must_be_something_to_draw_again(tmp_path: Path) -> None:
    result = call("--redraw", "-o", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: no bench in '{tmp_path}'")
    assert list(tmp_path.iterdir()) == []


def found(**changes: Any) -> Found:
    seconds = {"theirs": [2.0, 4.0, 2.0], "here": [1.0, 1.0, 3.0]}
    values: dict[str, Any] = {
        "section": "s",
        "title": "t",
        "against": "theirs",
        "length": 9,
        "seconds": seconds,
        "extra_bytes": {},
    }
    return Found(**(values | changes))


def test_every_number_is_ours_as_a_fraction_of_the_other(tmp_path: Path) -> None:
    record = Record(tmp_path, {"checkpoint": "tiny"})
    record.add("s: t", found(extra_bytes={"theirs": 4 << 20, "here": 3 << 20}))
    text = table(record)
    assert "| t | here | theirs | 0.50× (0.25–1.50) | 3 | 0.75× | 3 / 4 |  |" in text
    assert "| t | theirs | 0.50× | 0.75× |" in text


def test_the_short_table_has_some_attentions_at_the_longest_length(tmp_path: Path) -> None:
    record = Record(tmp_path, {"checkpoint": "tiny"})
    seconds = {"fused": [2.0], "softmax": [2.0], "ssmax": [3.0]}
    for length in (9, 99):
        one = found(section="attention", title=f"one layer, {length}", against="fused", length=length, seconds=seconds)
        record.add(str(length), one)
    record.add("s: t", found())
    assert [line.split(" | ")[0] for line in short(record).splitlines()[2:]] == ["| one layer, 99: ssmax", "| t"]


def comparison(**changes: Any) -> Comparison:
    sides = {"theirs": ready(lambda: 1), "here": ready(lambda: 2)}
    return Comparison(**({"section": "s", "title": "t", "against": "theirs", "sides": sides} | changes))


def test_sides_run_in_turn() -> None:
    order: list[str] = []
    sides = {name: ready(lambda name=name: order.append(name)) for name in ("a", "b", "c")}  # type: ignore[misc]
    found = interleaved(comparison(sides=sides, against="a"), CPU, 3)
    assert order == [*"aabbcc", *"abc" * 3]  # twice for memory, as the first is short; then the rounds
    assert [len(times) for times in found.seconds.values()] == [3, 3, 3]


def test_units_divide_the_time() -> None:
    plain = {"theirs": ready(lambda: sum(range(10**5))), "here": ready(lambda: sum(range(10**5)))}
    found = interleaved(comparison(sides=plain, units={"here": 1e9}), CPU, 1)
    assert found.seconds["here"][0] * 1e6 < found.seconds["theirs"][0]


def test_a_side_without_memory_is_a_remark_and_the_others_are_measured(tmp_path: Path) -> None:
    def greedy() -> None:
        raise torch.OutOfMemoryError("no memory left")

    def agreement(_: object) -> tuple[str, bool]:
        raise AssertionError("there is nothing to compare")

    sides = {"theirs": ready(greedy), "here": ready(lambda: 2)}
    record = Record(tmp_path, {"checkpoint": "tiny"})
    record.add("s: t", interleaved(comparison(sides=sides, agreement=agreement), CPU, 2))
    every = table(record).partition("## Every comparison")[2]
    (row,) = [line for line in every.splitlines() if line.startswith("| t ")]
    assert "| – | 2 | – |" in row
    assert "out of memory: theirs" in row
    (read,) = Record(tmp_path, {"checkpoint": "tiny"}).found.values()
    assert read == record.found["s: t"]


def test_what_does_not_agree_is_in_the_table(tmp_path: Path) -> None:
    record = Record(tmp_path, {"checkpoint": "tiny"})
    record.add("s: t", interleaved(comparison(agreement=lambda r: ("1 is not 2", r["here"] == r["theirs"])), CPU, 1))
    assert "NOT THE SAME: 1 is not 2" in table(record)


def test_a_bug_in_a_side_is_not_a_lack_of_memory() -> None:
    def broken() -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        interleaved(comparison(sides={"theirs": ready(broken)}), CPU, 1)


def test_a_bench_of_something_else_is_not_mixed_in(tmp_path: Path) -> None:
    Record(tmp_path, {"checkpoint": "a"}).add("s: t", interleaved(comparison(), CPU, 1))
    with pytest.raises(UserError, match="another checkpoint \\('a', here 'b'\\)"):
        Record(tmp_path, {"checkpoint": "b"})
