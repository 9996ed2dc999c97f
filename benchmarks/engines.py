"""The needle grid and `retrieval` by transformers and by vLLM, each in a process of its own.

vLLM wants other versions than the rest, so its interpreter is given: `--vllm .venv-vllm/bin/python`.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.measuring import Call, Comparison, Side
from benchmarks.subject import Subject
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.run import engines
from ssmax_eval.tasks import TASKS

VLLM, HERE = "vLLM", "ssmax-eval"
DEPTHS = tuple(round(i / 9, 4) for i in range(10))
TASKS_AT = {"niah": {"trials": 1}, "retrieval": {"trials": 1, "max_new_tokens": 16}}
"""What is measured at ten depths, and its settings."""


def comparisons(subject: Subject) -> Iterator[Comparison]:
    """Ten depths of one haystack under both engines, where an interpreter with vLLM is given."""
    for length in subject.within(1024):
        for task in TASKS_AT:
            yield Comparison(
                section="engines",
                title=f"{task}, {length:,} tokens, {len(DEPTHS)} depths, all cells",
                against=VLLM,
                sides={
                    VLLM: _side(subject, subject.vllm, "vllm", task, length),
                    HERE: _side(subject, sys.executable, "transformers", task, length),
                },
                agreement=_agreement,
                skipped="" if subject.vllm else "give --vllm PYTHON, an interpreter that has vLLM",
                length=length,
            )


def _side(subject: Subject, python: str, engine: str, task: str, length: int) -> Side:
    """A process that has loaded the checkpoint, and measures when it is told to."""

    @contextmanager
    def side() -> Iterator[Call]:
        command = [python, "-m", "benchmarks.engines", subject.checkpoint.name, engine, task, str(length)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            sent, said = process.stdin, process.stdout
            said.readline()

            def measured() -> Any:
                sent.write("go\n")
                sent.flush()
                return json.loads(said.readline())

            yield measured
            sent.close()

    return side


def _agreement(results: Mapping[str, Any]) -> tuple[str, bool]:
    mine, theirs = results[HERE], results[VLLM]
    same = [a == b for a, b in zip(mine["answers"], theirs["answers"], strict=True)]
    return (
        f"answers equal at {sum(same)} of {len(same)} cells; processor time {mine['cpu']:.0f} s here, "
        f"{theirs['cpu']:.0f} s there; memory {mine['bytes'] / 2**30:.1f} GiB here, "
        f"{theirs['bytes'] / 2**30:.1f} there",
        all(same),
    )


def serve(name: str, engine: str, kind: str, length: int) -> None:
    """Load a checkpoint under softmax, and measure a task whenever a line comes in."""
    from ssmax_eval.attention import Softmax

    checkpoint = Checkpoint(name, dtype="float32", engine=engine)
    cls: Any = TASKS[kind]
    task = cls(lengths=(length,), depths=DEPTHS, **TASKS_AT[kind])
    cells, size = task.cells(), engines.batch_size(checkpoint, length)
    with engines.loaded(checkpoint, length, None) as under, under(Softmax(), None) as model:
        bound = task.bind(model)
        print("ready", flush=True)
        for _ in sys.stdin:
            if engine == "vllm":
                model.engine.forget()
            before = _processor_time()
            found = {m.cell: m for batch in task.batches(cells, size) for m in bound(batch)}
            answers = [found[cell].values["answer"] for cell in cells]
            print(json.dumps({"answers": answers, "cpu": _processor_time() - before, "bytes": _bytes()}), flush=True)


def _family() -> list[psutil.Process]:
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def _processor_time() -> float:
    """Seconds that this process and those below it have computed."""
    return sum(float(times.user + times.system) for times in (one.cpu_times() for one in _family()))


def _bytes() -> int:
    """Memory that they hold, without what they share."""
    return sum(int(one.memory_full_info().uss) for one in _family())


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
