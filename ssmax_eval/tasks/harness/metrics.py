"""The metrics of lm-evaluation-harness: which of them one document has for itself, and what all documents have."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from ssmax_eval.measurement import Quantity
from ssmax_eval.model.harness import quiet
from ssmax_eval.tasks.harness import seam

SHARES = {"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"}
"""Metrics that the harness itself gives as 0 or 1 for a document."""
TITLES = {
    "acc": "accuracy",
    "acc_norm": "accuracy by characters",
    "acc_bytes": "accuracy by bytes",
    "exact_match": "exact match",
}
"""What some metrics are called in reports; the others by their names."""
RESAMPLES = 200
"""Of a standard error that has no formula; the harness itself draws 100 000."""
TAKEN = {"run", "status", "error", "seconds", "checkpoint", "attention", "task", "dtype", "rope", "document"}
"""Columns that a metric cannot be called like."""


class Metric(NamedTuple):
    """A metric that each document has a value of."""

    key: str
    """Its name in the harness's results: `acc,none`."""
    quantity: Quantity
    read: Callable[[Any], float]
    """Makes its value of what the harness keeps of a document."""

    def of(self, item: Any) -> float | None:
        """The value that a document has; None where the harness keeps no finite number."""
        try:
            value = float(self.read(item))
        except (TypeError, ValueError, ArithmeticError):
            return None
        return value if math.isfinite(value) else None


class Aggregate(NamedTuple):
    """A number of the harness over all documents."""

    key: str
    """The metric, as in the harness's results: `acc,none`."""
    value: float
    stderr: float | None
    """Its standard error, by the harness; None where it has none."""
    documents: int

    def as_told(self) -> dict[str, float | None]:
        """The value and its standard error, as in the harness's results: `acc,none` and `acc_stderr,none`."""
        metric, _, name = self.key.partition(",")
        return {self.key: self.value, f"{metric}_stderr,{name}": self.stderr}


def metrics_of(task: Any) -> tuple[list[Metric], list[str]]:
    """Return the metrics of a task of the harness that a document has for itself, and the names of those it has not."""
    found: list[Metric] = []
    others: list[str] = []
    better, filters = task.higher_is_better(), seam.filter_names(task)
    for metric, aggregation in task.aggregation().items():
        if metric == "byte_perplexity" and "bits_per_byte" in better:
            continue  # the same loss in another unit
        for name in filters:
            made = _metric(task, metric, f", {name}" if len(filters) > 1 else "", aggregation, better.get(metric))
            if made is None:
                others.append(metric)
            else:
                found.append(Metric(f"{metric},{name}", *made))
    return found, list(dict.fromkeys(others))


def aggregates(task: Any, documents: Sequence[Mapping[str, Any]]) -> Iterator[Aggregate]:
    """Yield what the harness makes of the metrics of documents, each a mapping as `Benchmark.measure` yields it."""
    from lm_eval.api.metrics import mean, stderr_for_metric

    known = task.aggregation()
    for key in dict.fromkeys(key for document in documents for key in document):
        items = [document[key] for document in documents if key in document]
        aggregation = known.get(key.partition(",")[0], mean)
        with quiet(), _one_process():
            value = float(aggregation(items))
            error = stderr_for_metric(aggregation, RESAMPLES)
            stderr = float(error(items)) if error is not None and len(items) > 1 else None
        yield Aggregate(key, value, stderr, len(items))


def of_group(group: Any, numbers: Mapping[str, Sequence[Aggregate]]) -> Iterator[Aggregate]:
    """Yield what a group of the harness makes of the numbers of its tasks, which are given by name."""
    told = {
        name: {"sample_len": max((one.documents for one in some), default=0)}
        | {key: "N/A" if value is None else value for one in some for key, value in one.as_told().items()}
        for name, some in numbers.items()
    }
    with quiet():
        found = group.aggregate(told)
    for key, value in found.items():
        metric, comma, name = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            stderr = found.get(f"{metric}_stderr,{name}")
            known = float(stderr) if isinstance(stderr, float) else None
            yield Aggregate(key, float(value), known, int(found["sample_count"][key]))


def _metric(
    task: Any, metric: str, said: str, aggregation: Any, higher: bool | None
) -> tuple[Quantity, Callable[[Any], float]] | None:
    from lm_eval.api import metrics as theirs

    better = "" if higher is None else "higher" if higher else "lower"
    title = TITLES.get(metric, metric) + said
    about: dict[str, Any] = {"units": ("document",), "same": ("prompt_digest",)}
    if aggregation is theirs.perplexity:
        return _quantity("nats_per_answer", f"loss of the answer{said}", "nats", "lower", **about), lambda item: -item
    if aggregation is theirs.weighted_perplexity:
        what = metric.removesuffix("_perplexity")
        loss = _quantity(f"nats_per_{what}", f"loss per {what}{said}", f"nats per {what}", "lower", **about)
        return loss, lambda item: -item[0] / item[1]
    if aggregation is theirs.bits_per_byte:
        bits = _quantity("bits_per_byte", f"loss per byte{said}", "bits per byte", "lower", **about)
        return bits, lambda item: -item[0] / item[1] / math.log(2)
    if aggregation is theirs.brier_score:
        return _quantity(metric + said, f"Brier score{said}", "", "lower", **about), lambda item: aggregation([item])
    if not _is_mean(aggregation):
        return None
    if metric in SHARES and getattr(task.config, "process_results", None) is None:
        about |= {"pool": "share", "between": (0.0, 1.0)}
        return _quantity(metric + said, title, "share", better, **about), float
    return _quantity(metric + said, title, "", better, **about), float


def _quantity(name: str, title: str, unit: str, better: str, **about: Any) -> Quantity:
    column = re.sub(r"[^\w.@]+", "_", name)
    return Quantity(f"{column}_" if column in TAKEN else column, title, unit, better, **about)


def _is_mean(aggregation: Any) -> bool:
    """Whether what is made of numbers is their mean, also of numbers below 0."""
    examples = ([0.25, 0.5, 1.0], [-1.0, 1.0, -1.0])
    try:
        return all(math.isclose(aggregation(list(one)), sum(one) / len(one)) for one in examples)
    except Exception:  # it may take something else than numbers
        return False


@contextmanager
def _one_process() -> Iterator[None]:
    """Keep the harness from starting processes, inside the block."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before
