"""What the documents tell a reader to do works: commands parse, targets and files exist, Python blocks run."""

import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import torch
from click.testing import CliRunner
from transformers import LlamaForCausalLM

import ssmax_eval
from ssmax_eval.cli.main import main
from tests.conftest import tiny_config
from tests.documents import PAGES, ROOT, blocks, lines, parse

README, CONTRIBUTING, CHANGELOG = PAGES[:3]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMMANDS = [(page, line) for page in PAGES if page != CHANGELOG for line in lines(page, "ssmax-eval")]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=lambda value: getattr(value, "name", value))
def test_every_command_parses(page: Path, line: str) -> None:
    parse(line)


def test_there_are_commands_to_parse() -> None:
    typed = {line.split()[1] for page, line in COMMANDS if page == README}
    assert {"run", "check", "report", "compare", "show", "convert", "train"} <= typed
    for page in PAGES:
        named = re.findall(r"`ssmax-eval ([a-z]\w*)`", page.read_text(encoding="utf-8"))
        gone = {"bench", "claims"} if page == CHANGELOG else set()
        assert set(named) - gone <= set(main.commands), page
    with pytest.raises(click.UsageError):
        parse("ssmax-eval run model --lenghts 3")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_exists(page: Path) -> None:
    asked = {word for line in lines(page, "make") for word in line.split("#")[0].split()[1:] if "=" not in word}
    assert asked <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_it_points_to_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    assert [target for target in linked if target and not (page.parent / target).exists()] == []
    named = re.findall(r"`((?:ssmax_eval|tests|docs|tasks|recipes|results|study|benchmarks|examples)/[\w./-]*)`", text)
    new = set(re.findall(r"^# (\S+)$", "\n".join([*blocks(page, "python"), *blocks(page, "yaml")]), re.MULTILINE))
    assert [path for path in named if path not in new and not (ROOT / path).exists()] == []


def test_the_tree_of_the_readme_is_the_tree() -> None:
    (tree,) = (block for block in blocks(README, "") if block.startswith("ssmax_eval/"))
    for line in tree.splitlines():
        folder = ROOT / "ssmax_eval" if line.startswith("  ") else ROOT
        names = [word for word in line.split() if word.endswith(("/", ".py"))]
        assert names
        assert [name for name in names if not (folder / name).exists()] == []
    rooms = {path.parent.name for path in (ROOT / "ssmax_eval").glob("*/__init__.py")}
    assert [room for room in rooms if f"  {room}/" not in tree] == []


def test_the_costs_are_those_of_the_benchmark() -> None:
    section = README.read_text(encoding="utf-8").split("## What it costs")[1].split("\n## ")[0]
    costs = [cost for line in section.splitlines() if line.startswith("| ") for cost in re.findall(r"([\d.]+)×", line)]
    measured = (ROOT / "results" / "bench" / "bench.md").read_text(encoding="utf-8")
    assert len(costs) > 25
    assert [cost for cost in costs if not re.search(rf"\| {re.escape(cost)}×? [|(]", measured)] == []


def runnable(page: Path) -> list[str]:
    return [block for block in blocks(page, "python") if "import ssmax_eval" in block]


@pytest.mark.parametrize("number", range(2))
def test_the_python_of_the_readme_runs(
    number: int, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of its own; the checkpoint and the lengths are smaller ones, and the reader's own names are given."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_folder, "org/model")
    (tmp_path / "runs").mkdir()
    torch.manual_seed(0)
    hf = LlamaForCausalLM(tiny_config()).eval()
    given: dict[str, Any] = {"ids": torch.arange(3, 67), "start": 10, "stop": 14, "hf_model": hf}
    code = runnable(README)[number].replace("[1024, 4096]", "[200, 256]")
    if number == 1:
        ssmax_eval.evaluate("org/model", attention=["softmax"], tasks=["loss"], lengths=[64], output="runs")
    exec(compile(code, str(README), "exec"), given)
    assert len(given["frame"]) > 0
    if number == 0:
        assert set(given["frame"].task) == {"niah", "loss"}
        assert list((tmp_path / "report").rglob("*.png"))


def test_every_block_of_the_readme_that_imports_the_package_is_run() -> None:
    assert len(runnable(README)) == 2


def example(page: Path, path: str) -> str:
    """The block of a page that is the file of this path."""
    (block,) = (block for block in [*blocks(page, "python"), *blocks(page, "yaml")] if block.startswith(f"# {path}\n"))
    return block


def test_the_attention_of_contributing_keeps_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "sharp.py"
    path.write_text(example(CONTRIBUTING, "ssmax_eval/attention/sharp.py"))
    checked = CliRunner().invoke(main, ["check", f"{path}:Sharp:strength=3"], catch_exceptions=False)
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.count("ok ") >= 6


def test_the_attention_of_its_page_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "my_attention.py"
    path.write_text(example(ROOT / "docs" / "your_own_attention.md", "my_attention.py"))
    small = [
        "layers=1",
        "heads=2",
        "width=16",
        "train_length=128",
        "steps=2",
        "warmup=1",
        "log_every=2",
        "save_every=2",
    ]
    small += ["text_sequences=1", "needle_sequences=1", "table_sequences=0", "needles=1", "questions=1"]
    command = ["train", "cpu", "--attention", f"{path}:Mine", *(f"--set={setting}" for setting in small)]
    made = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "out")], catch_exceptions=False)
    assert made.exit_code == 0, made.output
    model = ssmax_eval.load(str(tmp_path / "out"), trust_remote_code=True)
    assert model.attention.parameters()["b"] != ((0.0, 0.0),)


def test_the_task_and_the_figure_of_contributing_are_measured_and_drawn(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssmax_eval.report import views

    monkeypatch.chdir(tmp_path)
    task = example(CONTRIBUTING, "ssmax_eval/tasks/copying.py")
    shown = task.replace('same=("trial",)', 'same=("trial",), views=("by_length", "scatter")')
    assert shown != task
    Path("copying.py").write_text(shown)

    module = ModuleType("ssmax_eval.report.scatter")
    exec(example(CONTRIBUTING, "ssmax_eval/report/scatter.py"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    (view,) = (block for block in blocks(CONTRIBUTING, "python") if "-> Shown" in block)
    names = dict(vars(views))
    exec(view, names)
    monkeypatch.setitem(views.VIEWS, "scatter", names["scatter"])

    frame = ssmax_eval.evaluate(
        str(tiny_folder), attention=["softmax", "ssmax"], tasks=["copying.py:Copying"], lengths=[32, 64], output="runs"
    )
    assert frame.groupby("attention").copy_loss.count().tolist() == [8, 8]
    compared = ssmax_eval.compare(frame, baseline="softmax")
    assert set(compared["quantity"]) == {"loss of the second copy"}
    paths = [path.name for path in ssmax_eval.report("runs", "report")]
    assert [name for name in paths if name.endswith("-scatter.png")]
    assert [name for name in paths if name.endswith("-by-length.png")]
