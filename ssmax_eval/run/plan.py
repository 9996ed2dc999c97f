"""What a command does, step by step: plan the runs, say what they cost, execute them, sum up."""

import hashlib
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import click
import torch
import transformers
from tqdm import tqdm

from ssmax_eval import __version__
from ssmax_eval import tasks as task_room
from ssmax_eval.attention import describe, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, unknown
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import running
from ssmax_eval.run import estimate
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import measure, missing
from ssmax_eval.settings import assignments
from ssmax_eval.store import Store, read_results
from ssmax_eval.tasks import Task


@dataclass(frozen=True)
class Plan:
    """The runs of one command, and where they are stored."""

    checkpoint: Checkpoint
    runs: tuple[Run, ...]
    store: Store
    retry_failed: bool = False

    def todo(self, run: Run) -> list[Cell]:
        """Cells of a run that are still to be measured."""
        return missing(run, self.store, retry_failed=self.retry_failed)


def tasks(names: Sequence[str], changes: dict[str, Any], settings: Sequence[str], max_length: int | None) -> list[Task]:
    """The named tasks with the command line's changes; a change goes to every task that has the field."""
    changes = {**changes, **assignments(settings)}
    loaded = [task_room.load(name) for name in names]
    known = {f.name for task in loaded for f in fields(task)}
    for name in changes:
        if name not in known:
            raise unknown(f"field of task {', '.join(names)}:", name, known)
    chosen = []
    for task in loaded:
        own = {f.name for f in fields(task)}
        task = task_room.overridden(task, {k: v for k, v in changes.items() if k in own})
        if max_length is not None:
            kept = tuple(n for n in task.lengths if n <= max_length)
            if not kept:
                raise UserError(
                    f"--max-length {max_length} leaves no length of task {task.kind!r} {list(task.lengths)}"
                )
            if left := [n for n in task.lengths if n > max_length]:
                click.echo(f"{task.kind}: left out beyond --max-length: {', '.join(map(str, left))}", err=True)
            task = replace(task, lengths=kept)
        chosen.append(task)
    return chosen


def plan(
    checkpoint: Checkpoint,
    attentions: Sequence[str],
    chosen: Sequence[Task],
    output: str,
    *,
    retry_failed: bool = False,
) -> Plan:
    """Every task under every attention. What a user can have got wrong without loading weights is said here."""
    parsed = [parse(spec) for spec in attentions]
    for task in chosen:
        task.read()
    settled = [attention.resolve(checkpoint.shape) for attention in parsed]
    _ = checkpoint.device_and_dtype
    runs = dict.fromkeys(Run(checkpoint, attention, task) for attention in settled for task in chosen)
    return Plan(checkpoint, tuple(runs), Store(output), retry_failed)


def forecast(plan: Plan) -> str:
    """What the plan would measure: cells, tokens, and a rough time, as a table."""
    lines = [f"{'task':<14} {'attention':<24} {'cells':>6} {'to do':>6} {'tokens':>10} {'about':>8}"]
    total = 0.0
    for run in plan.runs:
        cells = plan.todo(run)
        seconds = estimate.seconds(plan.checkpoint, cells) if cells else 0.0
        total += seconds
        tokens = sum(c.context_length for c in cells)
        lines.append(
            f"{run.task.kind:<14} {describe(run.attention):<24} {len(run.task.cells()):>6} {len(cells):>6} "
            f"{tokens:>10,} {_time(seconds):>8}"
        )
    lines.append(f"About {_time(total)} in all: a rough figure, from this machine's matrix products.")
    return "\n".join(lines)


def execute(plan: Plan, *, batch_size: int | None = None, prefill_chunk: int | None = None) -> None:
    """Measure everything that is missing; the checkpoint is loaded once, and only if anything is.

    `batch_size` is how many cells are measured together; None chooses it for each context length.
    """
    todo = [run for run in plan.runs if plan.todo(run)]
    if not todo:
        click.echo("Everything is in the store already.", err=True)
        return
    click.echo(f"Loading {plan.checkpoint.label} ...", err=True)
    hf = plan.checkpoint.load()
    for attention in dict.fromkeys(run.attention for run in todo):
        with running(plan.checkpoint, hf, attention) as model:
            model.prefill_chunk = prefill_chunk
            for run in todo:
                if run.attention == attention:
                    _one(plan, run, model, batch_size)


def _one(plan: Plan, run: Run, model: Any, batch_size: int | None) -> None:
    cells = plan.todo(run)
    title = f"{run.task.kind} | {describe(run.attention)}"
    done = len(run.task.cells()) - len(cells)
    click.echo(f"{title}: {len(cells)} cells" + (f" to measure, {done} already there" if done else ""), err=True)
    lengths = sorted({cell.context_length for cell in cells})
    sizes = {n: batch_size or estimate.batch_size(plan.checkpoint, n) for n in lengths}
    failed = 0
    with tqdm(
        total=sum(c.context_length for c in cells),
        desc=title,
        unit="tok",
        unit_scale=True,
        leave=False,
        disable=None,
    ) as bar:

        def progress(measurement: Measurement) -> None:
            nonlocal failed
            failed += measurement.error is not None
            bar.update(measurement.cell.context_length)

        measure(
            run, model, plan.store, session=recorded(run, model, sizes), batch_size=sizes,
            retry_failed=plan.retry_failed, progress=progress,
        )  # fmt: skip
    if failed:
        click.echo(f"{title}: {failed} cells failed; the report marks them, --retry-failed tries again", err=True)


def recorded(run: Run, model: Any, sizes: dict[int, int]) -> dict[str, Any]:
    """What is written down of a session and does not change its numbers; `sizes` is the batch of each length."""
    device: torch.device = model.hf.device
    template = getattr(run.checkpoint.tokenizer, "chat_template", None)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": ["ssmax-eval", *sys.argv[1:]],
        "given": {"checkpoint": run.checkpoint.name, "texts": list(run.task.texts)},
        "versions": {
            "ssmax_eval": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "chat_template": hashlib.sha256(str(template).encode()).hexdigest()[:16] if template else None,
        "device": f"{device} ({name})",
        "batch_size": {str(length): size for length, size in sizes.items()},
        "prefill_chunk": model.prefill_chunk,
    }


def summary(plan: Plan) -> str:
    """The final table of a plan's runs."""
    from ssmax_eval.report import terminal

    return terminal(read_results(*(plan.store.root / run.name for run in plan.runs)))


def _time(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 1.5 else f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
