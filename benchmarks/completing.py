"""Answers written by `Model.complete` against a loop over `generate`, on the same prompts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.measuring import Call, Comparison
from benchmarks.subject import Subject
from ssmax_eval.model import Request
from ssmax_eval.tasks.niah import Niah

LOOP, HERE = "loop over hf.generate", "ssmax-eval"
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
LOOPED = 3
"""Prompts that the loop is given; times are by the prompt."""


def comparisons(subject: Subject) -> Iterator[Comparison]:
    """Needles at five depths of a haystack, and prompts of which each has a haystack of its own.

    First every answer has all the tokens that it may have; then answers end where the model ends them.
    """
    most = 6 if subject.quick else 64
    for length in subject.within(512) if subject.quick else subject.within(1024, 2048):
        yield _written(subject, length, most, depths=DEPTHS, trials=1 if subject.quick else 3, ends=False)
        yield _written(subject, length, most, depths=(0.5,), trials=5 if subject.quick else 15, ends=False)
        yield _written(subject, length, most, depths=(0.5,), trials=5 if subject.quick else 15, ends=True)


def _written(
    subject: Subject, length: int, most: int, *, depths: tuple[float, ...], trials: int, ends: bool
) -> Comparison:
    task = Niah(lengths=(length,), depths=depths, trials=trials)
    haystack = task.haystack(subject.tokenizer)[0]
    prompts = [haystack.prompt(cell) for cell in task.cells()]
    requests = [Request(prompt.ids[: prompt.answer_start], most) for prompt in prompts]

    def generated(request: Request) -> str:
        ids = torch.tensor([list(request.ids)], device=subject.device)
        output = subject.hf.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=most,
            pad_token_id=subject.tokenizer.pad_token_id or subject.tokenizer.eos_token_id or 0,
        )
        return str(subject.tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True))

    @contextmanager
    def ending() -> Iterator[None]:
        config = subject.hf.generation_config
        own = config.eos_token_id
        config.eos_token_id = own if ends else None
        try:
            yield
        finally:
            config.eos_token_id = own

    @contextmanager
    def loop() -> Iterator[Call]:
        with ending():
            yield lambda: [generated(request) for request in requests[:LOOPED]]

    @contextmanager
    def here() -> Iterator[Call]:
        with ending(), subject.model() as model:
            yield lambda: list(model.complete(requests))

    def agreement(results: Mapping[str, Any]) -> tuple[str, bool]:
        same = [one.text == text for one, text in zip(results[HERE], results[LOOP], strict=False)]
        tokens = sum(one.tokens for one in results[HERE]) / len(requests)
        return f"answers equal at {sum(same)} of {len(same)} prompts; {tokens:.0f} tokens each", all(same)

    prompted = f"{len(depths)} depths of a haystack" if len(depths) > 1 else "nothing shared"
    written = "up to " if ends else ""
    return Comparison(
        section="complete",
        title=f"{written}{most} tokens written after {length:,}, {prompted}, per prompt",
        against=LOOP,
        sides={LOOP: loop, HERE: here},
        units={LOOP: min(LOOPED, len(requests)), HERE: len(requests)},
        agreement=agreement,
        length=length,
    )
