"""Two processes that hold one model give what one process gives: transformers' tensor parallelism, over gloo."""

import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ssmax_eval
from ssmax_eval.attention import Attention, Rows, Shape, SSMax, masked_softmax, parse
from ssmax_eval.attention.per_n import PerN
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.parallel import Processes, processes
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import Request, resolve, running
from ssmax_eval.rewriting.heads import Heads
from ssmax_eval.run import measure as room
from ssmax_eval.run.identity import Run
from ssmax_eval.store import Store
from ssmax_eval.tasks.base import Measure
from ssmax_eval.tasks.loss import Loss

IDS = torch.randint(3, 600, (2, 70), generator=torch.Generator().manual_seed(1))
SPECS = ("softmax", "ssmax:s={table}", "lssar:p=3", "none")


@dataclass(frozen=True)
class Sloped(Attention):
    """Counts its heads by itself, so that half of them is not half of the attention."""

    def weights(self, rows: Rows) -> Tensor:
        slopes = torch.arange(1.0, rows.query.shape[1] + 1, device=rows.query.device)[None, :, None, None]
        return masked_softmax(rows.scores / slopes, rows.visible)


class Full(Loss):
    """Runs out of memory where more than one cell is measured together."""

    def bind(self, model: Any) -> Measure:
        def measured(cells: Sequence[Cell]) -> list[Measurement]:
            if len(cells) > 1:
                raise torch.OutOfMemoryError
            return [Measurement(cell, {"nll": float(model.token_losses(IDS[:1]).sum())}) for cell in cells]

        return measured


def numbers(folder: Path, table: Path, count: int) -> dict[str, Any]:
    """What a model gives under each attention."""
    source = Checkpoint(str(folder), dtype="float32", tensor_parallel=count)
    hf = source.load()
    return {spec: _numbers(source, hf, spec.format(table=table)) for spec in SPECS}


def _numbers(source: Checkpoint, hf: Any, spec: str) -> dict[str, Any]:
    with running(source, hf, resolve(source, parse(spec))) as model:
        prompts = [Request(IDS[0].tolist(), 8), Request(IDS[1, :50].tolist(), 5)]
        found: dict[str, Any] = {
            "losses": model.token_losses(IDS),
            "written": [one.text for one in model.complete(prompts)],
            "generated": model.generate(IDS[0], 3),
        }
        if spec != "none":
            answer = model.answer(IDS, 3, [5, 66], lambda a: a)
            found |= {
                "mass": model.key_mass(IDS[0], 3, 9),
                "rows": torch.stack(answer.looked_at),
                "logprobs": answer.logprobs,
                "resumable": model.resumable,
            }
            model.prefill_chunk = 16
            found["chunked"] = model.token_losses(IDS)
        return found


def refusals(folder: Path, store: Path) -> list[str]:
    """What each process says to an attention whose heads belong together, and where memory runs out in all."""
    source = Checkpoint(str(folder), dtype="float32", tensor_parallel=2)
    hf, said = source.load(), []
    try:
        with ssmax_eval.rewritten(hf, Sloped()):
            pass
    except UserError as error:
        said.append(str(error))
    task = Full(lengths=(64,), documents=2)
    with ssmax_eval.rewritten(hf, "softmax") as rewriting:
        model = ssmax_eval.Model(hf, source.tokenizer, rewriting, source.shape)
        run = Run(source, rewriting.attention, task)
        for _ in range(2):
            try:
                room.measure(run, model, Store(store), task.cells(), session={}, batch_size=2)
            except UserError as error:
                said.append(str(error))
    return said


def work(rank: int, port: int, folder: Path, table: Path, output: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    found = numbers(folder, table, 2)
    torch.save({"numbers": found, "said": refusals(folder, output / "runs")}, output / f"{rank}.pt")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An s that is different in every head."""
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("table") / "s.json"
    path.write_text(json.dumps([[draw.random() for _ in range(4)] for _ in range(2)]))
    return path


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, table: Path) -> Path:
    """A folder with what each of two processes found."""
    output, context = tmp_path_factory.mktemp("parallel"), multiprocessing.get_context("fork")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [context.Process(target=work, args=(rank, port, tiny_folder, table, output)) for rank in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
        assert one.exitcode == 0
    return output


def test_two_processes_are_one(parallel: Path, tiny_folder: Path, table: Path) -> None:
    alone = numbers(tiny_folder, table, 1)
    for rank in range(2):
        found = torch.load(parallel / f"{rank}.pt")["numbers"]
        for spec in SPECS:
            for name, value in alone[spec].items():
                if isinstance(value, Tensor):
                    torch.testing.assert_close(found[spec][name], value, rtol=0, atol=3e-5)
                else:
                    assert found[spec][name] == value, (spec, name)


def test_heads_that_belong_together_and_memory_that_runs_out(parallel: Path) -> None:
    said = [torch.load(parallel / f"{rank}.pt")["said"] for rank in range(2)]
    assert said[0] == said[1]
    other, full = said[0]
    assert other.startswith("Sloped gives other weights where its heads are spread over 2 processes")
    assert full.startswith("out of memory at 64 tokens, in one of the 2 processes")
    (folder,) = (parallel / "runs").iterdir()
    cells = Store(parallel / "runs").cells(folder.name)
    assert [one.error for one in cells.values()] == [None, None]
    assert not list(folder.glob("attempt*"))


def test_only_tables_that_follow_the_heads_are_cut() -> None:
    heads = Heads(Shape(2, 4, 6), Processes(2, 1))
    s, p = ((1.0, 2.0, 3.0, 4.0), ()), ((1.0, 2.0, 3.0, 4.0),) * 2
    assert heads.cut(SSMax(s=s, b=0.5)) == SSMax(s=((3.0, 4.0), ()), b=0.5)
    assert heads.cut(PerN(p=p)) == PerN(p=p)
    assert heads.part(PerN(p=p), 4) == PerN(p=p)
    with pytest.raises(UserError, match="a layer has 3 heads in each of 2 processes"):
        heads.part(PerN(p=p), 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tensor_parallel": 2}, "needs 2 processes, and there is 1; .* torchrun --nproc-per-node 2 "),
        ({"tensor_parallel": 3}, "does not fit 4 query heads"),
        ({"tensor_parallel": 4}, "does not fit 2 key-value heads"),
        ({"tensor_parallel": 2, "device_map": "auto"}, "both spread the model"),
        ({"tensor_parallel": 0}, "must be 1 or more"),
    ],
)
def test_what_cannot_be_held_apart(tiny_folder: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ssmax_eval.load(str(tiny_folder), "softmax", **given)
    assert processes().count == 1


@pytest.mark.slow
def test_the_command_under_torchrun_goes_on_where_memory_ran_out(tmp_path: Path, tiny_folder: Path) -> None:
    """Memory runs out in the second process only, at the first start; torchrun starts the command again."""
    (tmp_path / "full.py").write_text(
        "import os\nimport torch\nfrom ssmax_eval.tasks.loss import Loss\n\n\n"
        "class Full(Loss):\n    def bind(self, model):\n        own = super().bind(model)\n\n"
        "        def measured(cells):\n"
        '            if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and os.environ["RANK"] == "1":\n'
        "                raise torch.OutOfMemoryError\n"
        "            return own(cells)\n\n        return measured\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "2"]
    command += ["-m", "ssmax_eval", "run", str(tiny_folder), "--tensor-parallel", "2", "--task", "full.py:Full"]
    command += ["--lengths", "128", "--documents", "2", "--text", str(Path("tests/data/emma.txt").resolve())]
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "out of memory at 128 tokens, in one of the 2 processes" in done.stderr
    assert done.stdout.count("Loss over the first tokens") == 1
    (folder,) = (tmp_path / "runs").iterdir()
    assert [one.error for one in Store(tmp_path / "runs").cells(folder.name).values()] == [None, None]
    assert not list(folder.glob("attempt*"))
