"""The loss pass, against a pass for each length, against a pass without logits, and against the machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from benchmarks.measuring import Call, Comparison, Side, ready
from benchmarks.subject import Subject
from ssmax_eval.run import estimate
from ssmax_eval.tasks.loss import Loss

SIDE = 1024
"""Rows of the square matrices whose product says how fast a machine is."""


def losses(subject: Subject) -> Iterator[Comparison]:
    """The mean loss at ten lengths: from one pass, and from a pass each with all its logits."""
    (longest,) = subject.within(512 if subject.quick else 2048)
    lengths = [longest * i // 10 for i in range(1, 11)]
    task = Loss(lengths=(longest,), documents=1)
    ids = subject.text(longest)
    each, once = "a pass per length, all logits", "one pass"

    def runs() -> list[float]:
        found = []
        for n in lengths:
            logits = subject.hf(ids[None, :n], use_cache=False).logits[0, :-1]
            found.append(float(cross_entropy(logits.float(), ids[1:n])))
        return found

    @contextmanager
    def one() -> Iterator[Call]:
        with subject.model() as model:
            bound = task.bind(model)

            def call() -> list[float]:
                (measured,) = bound(task.cells())
                nll = torch.tensor(measured.rows["nll"], dtype=torch.float64)
                return [float(nll[: n - 1].mean()) for n in lengths]

            yield call

    def agreement(results: Mapping[str, Any]) -> tuple[str, bool]:
        apart = max(abs(a - b) for a, b in zip(results[each], results[once], strict=True))
        return f"losses differ by {apart:.0e} nats at most", apart < subject.tolerance

    yield Comparison(
        section="loss",
        title=f"loss at ten lengths to {longest:,} tokens",
        against=each,
        sides={each: ready(runs), once: one},
        agreement=agreement,
        length=longest,
    )


def memory(subject: Subject) -> Iterator[Comparison]:
    """The loss pass against a pass that gives hidden states and no logits. At the first length, in chunks too."""
    lengths = subject.within(512) if subject.quick else subject.within(4096, 20000)
    for length in lengths:
        yield _memory(subject, length, chunked=length == lengths[0])


def _memory(subject: Subject, length: int, *, chunked: bool) -> Comparison:
    ids = subject.text(length)
    plain = "forward pass, no logits"

    def hidden() -> None:
        subject.hf.base_model(ids[None], use_cache=False)

    sides: dict[str, Side] = {plain: ready(hidden), "loss pass": _pass(subject, ids, None)}
    with subject.model() as model:
        if chunked and model.resumable:
            sides[f"loss pass, prefill_chunk {length // 4}"] = _pass(subject, ids, length // 4)

    def agreement(results: Mapping[str, Any]) -> tuple[str, bool | None]:
        whole, *others = [found for name, found in results.items() if name != plain]
        apart = max((float((whole - other).abs().max()) for other in others), default=None)
        return ("", None) if apart is None else (f"losses differ by {apart:.0e} at most", apart < subject.tolerance)

    return Comparison(
        section="memory",
        title=f"loss pass, {length:,} tokens",
        against=plain,
        sides=sides,
        agreement=agreement,
        length=length,
    )


def rate(subject: Subject) -> Iterator[Comparison]:
    """A loss pass against as many operations in plain matrix products."""
    (length,) = subject.within(512 if subject.quick else 2048)
    device, dtype = subject.device, subject.dtype
    square = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    wanted = estimate.work(subject.checkpoint, length) / (2 * SIDE**3)
    products = max(1, round(wanted))
    bare = "matrix products of as many operations"

    def multiply() -> None:
        for _ in range(products):
            torch.mm(square, square)

    yield Comparison(
        section="rate",
        title=f"loss pass, {length:,} tokens",
        against=bare,
        sides={bare: ready(multiply), "loss pass": _pass(subject, subject.text(length), None)},
        units={bare: products / wanted},
        length=length,
    )


def _pass(subject: Subject, ids: torch.Tensor, chunk: int | None) -> Side:
    @contextmanager
    def side() -> Iterator[Call]:
        with subject.model() as model:
            if chunk is not None:
                model.prefill_chunk = chunk
            yield lambda: model.token_losses(ids)

    return side
