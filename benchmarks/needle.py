"""Needles against a loop over `generate`, and key attention against `output_attentions`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.measuring import Call, Comparison, ready
from benchmarks.subject import Subject
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.rewriting import seam
from ssmax_eval.tasks import TASKS
from ssmax_eval.tasks.key_attention import KeyAttention
from ssmax_eval.tasks.prompts import Prompt

LOOP_TOKENS = 20480
"""Tokens of prompts that the loop is given. At long lengths these are some of the depths; times are by the cell."""
LOOP, HERE = "loop over hf.generate", "ssmax-eval"


def needles(subject: Subject) -> Iterator[Comparison]:
    """The needle grid, ten depths a length, and the dense grid."""
    for length in subject.within(512) if subject.quick else subject.within(1024, 2048, 4096):
        yield _grid(subject, "niah", length, 3 if subject.quick else 10)
    (length,) = subject.within(512 if subject.quick else 2048)
    yield _grid(subject, "niah_dense", length, 3 if subject.quick else 10)


def _grid(subject: Subject, kind: str, length: int, count: int) -> Comparison:
    depths = tuple(round(i / (count - 1), 4) for i in range(count))
    task: Any = TASKS[kind](lengths=(length,), depths=depths, trials=1)  # type: ignore[call-arg]
    cells = task.cells()
    looped = _spread(cells, max(2, LOOP_TOKENS // length))
    haystack = task.haystack(subject.tokenizer)[0]
    prompts = {cell: haystack.prompt(cell) for cell in looped}

    def loop() -> dict[Cell, list[int]]:
        return {cell: _generated(subject, prompt) for cell, prompt in prompts.items()}

    @contextmanager
    def here() -> Iterator[Call]:
        with subject.model() as model:
            bound = task.bind(model)
            yield lambda: {m.cell: m for batch in task.batches(cells, 1) for m in bound(batch)}

    def agreement(results: Mapping[str, Any]) -> tuple[str, bool]:
        same = [_same(subject, prompts[c], results[LOOP][c], results[HERE][c]) for c in looped]
        found = sum(results[HERE][c].values["score"] == 1.0 for c in cells)
        return f"answers equal at {sum(same)} of {len(same)} cells; {found} of {len(cells)} needles found", all(same)

    return Comparison(
        section="needle",
        title=f"{kind}, {length:,} tokens, {len(cells)} depths, per cell",
        against=LOOP,
        sides={LOOP: ready(loop), HERE: here},
        units={LOOP: len(looped), HERE: len(cells)},
        agreement=agreement,
        length=length,
    )


def _spread(cells: Sequence[Cell], most: int) -> list[Cell]:
    """At most this many of the cells, evenly spread, with the first and the last."""
    count = min(most, len(cells))
    return [cells[round(i * (len(cells) - 1) / max(count - 1, 1))] for i in range(count)]


def _generated(subject: Subject, prompt: Prompt) -> list[int]:
    """Tokens that plain transformers writes greedily after a prompt, as many as the answer has."""
    ids = torch.tensor([prompt.ids[: prompt.answer_start]], device=subject.device)
    output = subject.hf.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=len(prompt.ids) - prompt.answer_start,
        pad_token_id=subject.tokenizer.pad_token_id or subject.tokenizer.eos_token_id or 0,
    )
    written: list[int] = output[0, ids.shape[1] :].tolist()
    return written


def _same(subject: Subject, prompt: Prompt, written: list[int], measured: Measurement) -> bool:
    """Whether decoding and teacher forcing agree: the same score, and the same text as far as that goes."""
    expected = prompt.ids[prompt.answer_start :]
    right = next((i for i, (a, b) in enumerate(zip(written, expected, strict=False)) if a != b), len(written))
    text = str(subject.tokenizer.decode(written[: right + 1])).strip()
    return (written == expected) == (measured.values["score"] == 1.0) and text == measured.values["answer"]


def keys(subject: Subject) -> Iterator[Comparison]:
    """Key attention of every head: against all attention weights, and against a pass that looks at none."""
    (length,) = subject.within(512 if subject.quick else 2048)
    task = KeyAttention(lengths=(length,), depths=(0.5,), trials=1)
    (cell,) = task.cells()
    prompt = task.haystack(subject.tokenizer)[0].prompt(cell)
    ids = torch.tensor([prompt.ids], device=subject.device)

    @contextmanager
    def here() -> Iterator[Call]:
        with subject.model() as model:
            bound = task.bind(model)
            yield lambda: list(bound([cell]))

    @contextmanager
    def eager() -> Iterator[Call]:
        own = seam.implementation_of(subject.hf.config)
        subject.hf.set_attn_implementation("eager")
        try:
            yield _weights
        finally:
            subject.hf.set_attn_implementation(own)

    def _weights() -> torch.Tensor:
        layers = subject.hf.base_model(ids, output_attentions=True, use_cache=False).attentions
        return torch.stack([a[0, :, prompt.digit_start - 1, slice(*prompt.key)].sum(-1) for a in layers])

    def agreement(results: Mapping[str, Any]) -> tuple[str, bool]:
        rows = results[HERE][0].rows
        at = [p == prompt.digit_start - 1 for p in rows["position"]]
        mine = torch.tensor([score for score, wanted in zip(rows["needle_score"], at, strict=True) if wanted])
        apart = float((mine - results["eager, output_attentions"].float().cpu().flatten()).abs().max())
        return f"needle scores differ by {apart:.0e} at most", apart < subject.tolerance

    for against, side, check in (
        ("eager, output_attentions", eager, agreement),
        ("forward pass", ready(lambda: _ended(subject.hf.base_model(ids, use_cache=False))), None),
    ):
        yield Comparison(
            section="key",
            title=f"key attention, {length:,} tokens, against {against}",
            against=against,
            sides={against: side, HERE: here},
            agreement=check,
            length=length,
        )


def _ended(output: Any) -> None:
    """Let go of what a pass gave, as a measurement does."""
    del output
