"""Anybody's benchmark: the tasks of lm-evaluation-harness, a document a cell."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import torch

from ssmax_eval.checkpoint.rope import forget_lengths, length_dependent
from ssmax_eval.corpus import Text, text_digest
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement, Quantity
from ssmax_eval.model.harness import lm
from ssmax_eval.tasks.base import Measure, Task, grid
from ssmax_eval.tasks.harness.benchmark import Benchmark, Wording, benchmark
from ssmax_eval.tasks.harness.metrics import Aggregate, Metric, aggregates, metrics_of, of_group
from ssmax_eval.tasks.harness.names import Asked, loaded

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint
    from ssmax_eval.model import Model

ASKED = 600
"""Characters of the end of a prompt that `show` prints."""
METRICS = "metrics"
"""Value of a cell that holds the metrics of its document as the harness keeps them, in JSON."""


@dataclass(frozen=True, kw_only=True)
class Harness(Task):
    """One task of lm-evaluation-harness; `ssmax-eval harness` makes it, by name. Each document is a cell.

    The harness makes the prompts and scores the answers. The context length is that of the longest request of all
    documents, rounded up to a power of two; `actual_length` is that of the document's own longest request.
    """

    benchmark: str
    """Name of the task in the harness."""
    asked: str = grid("")
    """The name that was asked for: that of the task, of a group that it belongs to, or the path of its file."""
    documents: int = grid(1)
    """Documents that are measured, from the first."""
    include: str = grid("")
    """Folder with task files of your own."""
    shots: int = 0
    """Solved examples before each question."""
    chat_template: bool = False
    """Whether prompts go through the tokenizer's chat template."""
    window: int = 0
    """Tokens that the model sees of longer requests, the last ones; 0: every request fits."""
    seed: int = 1234
    """Draws the examples."""
    data: str = ""
    """Digest of the documents."""
    config: str = ""
    """Digest of how prompts are worded and answers are scored."""
    benchmark_version: str = ""
    """Version of the task, as its file says it."""
    harness_version: str = ""
    """Version of lm-evaluation-harness."""

    def cells(self) -> list[Cell]:
        return [Cell(self.lengths[0], document=number) for number in range(self.documents)]

    def read(self) -> list[Text]:
        """No texts: the documents are those of the benchmark."""
        return []

    def of_checkpoint(self, checkpoint: "Checkpoint") -> dict[str, Any]:
        """Return today's date where the chat template asks for it, since the harness lets it."""
        asks = self.chat_template and "strftime_now" in str(getattr(checkpoint.tokenizer, "chat_template", None))
        return super().of_checkpoint(checkpoint) | ({"date": str(date.today())} if asks else {})

    def numbers(self) -> list[Quantity]:
        """Return the metrics that each document has for itself."""
        metrics, _ = metrics_of(loaded(self._asked).tasks[self.benchmark])
        found = {one.quantity.name: one.quantity for one in metrics}
        return [replace(one, title=f"{one.title} ({self.name})") for one in found.values()]

    def bind(self, model: "Model") -> Measure:
        benchmark = self.read_benchmark(model.tokenizer)
        self._refuse_change(benchmark)
        metrics, _ = metrics_of(benchmark.task)
        hf = lm(model, max_length=self.window or self.lengths[0])
        alone = length_dependent(model.hf.config)  # padding would change the angles of the others

        def measure(cells: Sequence[Cell]) -> Iterator[Measurement]:
            hf.batch_size_per_gpu = 1 if alone else len(cells)
            torch.manual_seed(self.seed)  # for benchmarks that draw their answers
            numbers = [int(cell.document or 0) for cell in cells]
            with _forgetting(model.hf):
                scored = list(benchmark.measure(hf, numbers))
            for cell, (found, asked) in zip(cells, scored, strict=True):
                yield Measurement(cell, {**_values(metrics, found), **self._about(benchmark, cell, asked)})

        return measure

    def prompt(self, cell: Cell, tokenizer: Any) -> str:
        """Return what the first request of a document says before the answer."""
        benchmark = self.read_benchmark(tokenizer)
        self._refuse_change(benchmark)
        return str(benchmark.requests[cell.document or 0][0].args[0])

    def show(self, measurement: Measurement, tokenizer: Any) -> str:
        """Return the end of the prompt, what was expected, the answer and the metrics."""
        values = dict(measurement.values)
        asked = self.prompt(measurement.cell, tokenizer)
        lines = [
            f"asked     ... {' '.join(asked[-ASKED:].split())}",
            *(
                f"{name:<9} {' '.join(str(values.pop(name)).split())}"
                for name in ("expected", "answer")
                if name in values
            ),
        ]
        return "\n".join(lines + [f"{name:<16} {value}" for name, value in values.items() if name != METRICS])

    def of_groups(self, numbers: Mapping[str, Sequence[Aggregate]]) -> Iterator[tuple[str, Aggregate]]:
        """Yield the harness's averages of the groups that this was asked for with: each group's name and a number.

        `numbers` are those of the tasks, by name; a group is left out where one of its tasks is missing.
        """
        for name, group in loaded(self._asked).groups.items():
            if group.has_aggregation and {task.task_name for task in group.get_all_tasks()} <= numbers.keys():
                yield from ((name, one) for one in of_group(group, numbers))

    def aggregates(self, measurements: Iterable[Measurement]) -> list[Aggregate]:
        """Return the harness's own numbers over the documents that were measured."""
        found = [json.loads(str(one.values[METRICS])) for one in measurements if one.error is None]
        return list(aggregates(loaded(self._asked).tasks[self.benchmark], found)) if found else []

    def read_benchmark(self, tokenizer: Any) -> Benchmark:
        """Return the benchmark with its prompts, of which the same ones are made only once."""
        return benchmark(self.benchmark, self._asked, Wording(self.shots, self.chat_template, self.seed), tokenizer)

    @property
    def _asked(self) -> Asked:
        return Asked(self.asked or self.benchmark, self.include)

    def _about(self, benchmark: Benchmark, cell: Cell, asked: Sequence[Any]) -> dict[str, Any]:
        """What else a cell says of its document."""
        tokens = benchmark.tokens[cell.document or 0]
        return {
            **_answer(benchmark.task, asked),
            "actual_length": min(tokens, self.window or tokens),
            "truncated": bool(self.window and tokens > self.window),
            "prompt_digest": text_digest(json.dumps([one.args for one in asked], sort_keys=True, default=str)),
        }

    def _refuse_change(self, benchmark: Benchmark) -> None:
        """Raise UserError where the benchmark is not the one that this run is about."""
        if (benchmark.data, benchmark.config) != (self.data, self.config):
            raise UserError(
                f"the documents or the wording of {self.benchmark!r} are not those of this run; "
                "`ssmax-eval harness` makes a run of those there are now"
            )


@contextmanager
def _forgetting(hf: Any) -> Iterator[None]:
    """Give each text its own angles under dynamic NTK, inside the block, whatever ran before it."""
    hook = hf.register_forward_pre_hook(lambda *_: forget_lengths(hf))
    try:
        yield
    finally:
        hook.remove()


def _values(metrics: Sequence[Metric], found: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of a document: each as a number, and all of them as the harness keeps them."""
    values: dict[str, Any] = {}
    for metric in metrics:
        if metric.key in found:
            values[metric.quantity.name] = metric.of(found[metric.key])
    return values | {METRICS: json.dumps(found, default=_plain)}


def _plain(value: Any) -> Any:
    """A number or an array of numpy's as JSON has it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _answer(task: Any, asked: Sequence[Any]) -> dict[str, str]:
    """What the model answered to a document, and what was expected; nothing where that cannot be said."""
    kind, first = task.OUTPUT_TYPE, asked[0]
    try:
        target = task.doc_to_target(first.doc)
        if kind == "multiple_choice":
            choices = [str(choice) for choice in task.doc_to_choice(first.doc)]
            scores = [one.resps[0][0] for one in asked[: len(choices)]]
            target = task.doc_to_text(first.doc) if task.multiple_input else target
            expected = [choices[one] if isinstance(one, int) else str(one) for one in _several(target)]
            answer = choices[scores.index(max(scores))]
        elif kind == "generate_until":
            answer, expected = str(first.resps[0]), [str(one).strip() for one in _several(target)]
        else:
            return {}
    except Exception:  # of a task's own code; the metrics are there all the same
        return {}
    return {"answer": answer, "expected": json.dumps(expected, ensure_ascii=False)}


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
