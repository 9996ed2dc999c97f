"""Against lm-evaluation-harness, on the same prompts and the same texts, where it is installed."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.measuring import Call, Comparison, Side, ready
from benchmarks.subject import Subject
from ssmax_eval.tasks.niah import Niah

HARNESS, HERE = "lm-evaluation-harness", "ssmax-eval"


def comparisons(subject: Subject) -> Iterator[Comparison]:
    """Log-likelihood of needle answers given their prompts, and of whole texts."""
    (length,) = subject.within(512 if subject.quick else 1024)
    if find_spec("lm_eval") is None:
        for title in ("answers", "texts"):
            yield Comparison(
                section="harness",
                title=f"log-likelihood of {title}, {length:,} tokens",
                against=HARNESS,
                sides={HARNESS: ready(list), HERE: ready(list)},
                skipped="not installed; pip install ssmax-eval[harness]",
                length=length,
            )
        return
    yield _answers(subject, length, 2 if subject.quick else 5)
    yield _texts(subject, length, 2)


def _answers(subject: Subject, length: int, count: int) -> Comparison:
    task = Niah(lengths=(length,), depths=tuple(i / (count - 1) for i in range(count)), trials=1)
    cells = task.cells()
    haystack = task.haystack(subject.tokenizer)[0]
    prompts = [haystack.prompt(cell) for cell in cells]
    asked = [(p.text[: p.answer_at], p.text[p.answer_at :]) for p in prompts]

    @contextmanager
    def here() -> Iterator[Call]:
        with subject.model() as model:
            bound = task.bind(model)

            def call() -> list[float]:
                found = {m.cell: m.values for batch in task.batches(cells, 1) for m in bound(batch)}
                sizes = [len(p.ids) - p.answer_start for p in prompts]
                return [size * float(found[cell]["logprob"] or 0.0) for cell, size in zip(cells, sizes, strict=True)]

            yield call

    return _comparison(subject, f"answers, {count} prompts of {length:,} tokens", length, "loglikelihood", asked, here)


def _texts(subject: Subject, length: int, count: int) -> Comparison:
    texts = [subject.tokenizer.decode(subject.text(length - 2 - i)) for i in range(count)]
    begin = _harness(subject).prefix_token_id
    encoded = [torch.tensor([begin, *subject.tokenizer(text, add_special_tokens=False)["input_ids"]]) for text in texts]

    @contextmanager
    def here() -> Iterator[Call]:
        with subject.model() as model:
            yield lambda: [-float(model.token_losses(ids).double().sum()) for ids in encoded]

    asked = [(text,) for text in texts]
    return _comparison(subject, f"{count} texts of {length:,} tokens", length, "loglikelihood_rolling", asked, here)


def _comparison(subject: Subject, title: str, length: int, kind: str, asked: list[Any], here: Side) -> Comparison:
    from lm_eval.api.instance import Instance

    lm = _harness(subject)
    requests = [Instance(request_type=kind, doc={}, arguments=arguments, idx=i) for i, arguments in enumerate(asked)]

    def theirs() -> list[float]:
        found = getattr(lm, kind)(requests, disable_tqdm=True)
        return [float(one[0] if isinstance(one, tuple) else one) for one in found]

    def agreement(results: Mapping[str, Any]) -> tuple[str, bool]:
        pairs = list(zip(results[HARNESS], results[HERE], strict=True))
        apart = max(abs(a - b) / max(abs(a), 1.0) for a, b in pairs)
        return f"log-likelihoods differ by {apart:.0e} of themselves at most", apart < subject.tolerance

    return Comparison(
        section="harness",
        title=f"log-likelihood of {title}",
        against=HARNESS,
        sides={HARNESS: ready(theirs), HERE: here},
        agreement=agreement,
        length=length,
    )


@lru_cache(maxsize=1)
def _harness(subject: Subject) -> Any:
    """The harness around the very model that is measured here."""
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return HFLM(pretrained=subject.hf, tokenizer=subject.tokenizer, batch_size=1, max_length=subject.lengths[-1] + 1)
