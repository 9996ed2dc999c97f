"""`ssmax-eval harness`."""

import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.forecast import print_forecast
from ssmax_eval.cli.machine import json_option, print_json
from ssmax_eval.cli.options import checkpoint_of
from ssmax_eval.cli.table import aligned

if TYPE_CHECKING:
    from ssmax_eval.run.plan import Plan
    from ssmax_eval.tasks.harness.metrics import Aggregate
    from ssmax_eval.tasks.harness.task import Harness


@click.command()
@options.harness_options
@options.checkpoint_options
@json_option
@options.quiet_option
def harness(
    checkpoint: str, attentions: tuple[str, ...], positions: tuple[str, ...], names: tuple[str, ...],
    num_fewshot: int | None, limit: int | None, include_path: str, apply_chat_template: bool, max_length: int | None,
    seed: int, batch_size: int | None, retry_failed: bool, dry_run: bool, output: str, as_json: bool, quiet: bool,
    **loading: Any,
) -> None:  # fmt: skip
    """Run benchmarks of lm-evaluation-harness on CHECKPOINT under any attention.

    Every document is kept, so the same command goes on where it stopped, and `report` and `compare` know the
    benchmarks. The table has the harness's own numbers. See docs/harness.md.

    \b
    Examples:
      ssmax-eval harness org/model --attention softmax --attention ssmax --tasks hellaswag,arc_easy
      ssmax-eval harness smollm2-135m --tasks mine --include-path my_tasks --limit 100
    """
    from ssmax_eval.run.evaluate import prepare
    from ssmax_eval.run.plan import execute
    from ssmax_eval.tasks.harness.chosen import harness_tasks

    say = options.sayer(quiet)
    source = checkpoint_of(checkpoint, loading)
    tasks = harness_tasks(
        names, source, shots=num_fewshot, limit=limit, include=include_path, chat_template=apply_chat_template,
        max_length=max_length, seed=seed, say=say,
    )  # fmt: skip
    planned = prepare(source, attentions, tasks, output, position=positions, retry_failed=retry_failed, say=say)
    if dry_run:
        print_forecast(planned, as_json)
        return
    execute(planned, batch_size=batch_size, say=say, progress=not quiet)
    found = _rows(planned, tasks)
    if as_json:
        print_json({"output": output, "results": [one._asdict() for one in found]})
    else:
        click.echo(_table(found))
        say("\nStored in:\n" + "\n".join(f"  {folder}" for folder in planned.folders))
        say(f"Next: ssmax-eval compare {shlex.quote(output)}")


class Row(NamedTuple):
    """One number of the harness."""

    task: str
    """A task, or a group of which all tasks were measured."""
    metric: str
    """As in the harness's results: `acc,none`."""
    shots: int | None
    """Solved examples before each question; None for a group."""
    attention: str
    value: float
    stderr: float | None
    """Standard error, by the harness; None where it has none."""
    documents: int
    """Documents that it is made of."""


def _rows(planned: "Plan", tasks: "list[Harness]") -> list[Row]:
    """The harness's numbers, benchmark by benchmark, from what the store holds; new ones are written down there."""
    known, found = {task.name: task for task in tasks}, []
    by_attention: dict[str, dict[str, list[Aggregate]]] = {}
    for run in planned.runs:
        task, there = known[run.task.name], planned.store.cells(run.name)
        numbers = task.aggregates([there[cell] for cell in run.task.cells() if cell in there])
        if planned.todo[run]:
            told = {name: value for one in numbers for name, value in one.as_told().items()}
            planned.store.note(run.name, {"kind": "harness", "documents": task.documents, "results": told})
        by_attention.setdefault(run.label, {})[task.benchmark] = numbers
        found += [_row(task.name, task.shots, run.label, one) for one in numbers]
    for attention, some in by_attention.items():
        groups = dict.fromkeys(pair for task in tasks for pair in task.of_groups(some))
        found += [_row(name, None, attention, one) for name, one in groups]
    order = list(dict.fromkeys((row.task, row.metric) for row in found))
    return sorted(found, key=lambda row: order.index((row.task, row.metric)))


def _row(task: str, shots: int | None, attention: str, number: "Aggregate") -> Row:
    return Row(task, number.key, shots, attention, number.value, number.stderr, number.documents)


def _table(rows: list[Row]) -> str:
    head = ("task", "metric", "shots", "attention", "value", "stderr", "documents")
    lines = [
        (*one[:4], f"{one.value:.4f}", "" if one.stderr is None else f"± {one.stderr:.4f}", one[6]) for one in rows
    ]
    return aligned([head, *lines])
