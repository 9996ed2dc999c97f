"""What every attention must do, whoever wrote it; `ssmax-eval check my_attention.py:Mine` runs this.

Each clause is tried on random queries and keys in float64: 4 query heads on 2 key heads, 37 tokens.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape
from ssmax_eval.attention.call import Call, Visible
from ssmax_eval.attention.functions import weighted_sum
from ssmax_eval.errors import UserError

SHAPE = Shape(layers=2, heads=4, train_length=64)
TOKENS, WIDTH, SCALING = 37, 8, 0.35
CLOSE = 1e-9

Inputs = tuple[Tensor, Tensor, Tensor]


class ContractError(Exception):
    """A clause that does not hold, and how."""


def run(attention: Attention) -> Iterator[tuple[str, str | None]]:
    """Yield each clause of the contract, and what is wrong with it, or None."""
    resolved = attention.resolve(SHAPE)
    for clause in CLAUSES:
        try:
            clause(resolved)
        except ContractError as problem:
            yield _title(clause), str(problem)
        except Exception as error:  # whatever a user's own code raises is a finding
            yield _title(clause), f"raised {type(error).__name__}: {' '.join(str(error).split())}"
        else:
            yield _title(clause), None


def _finite_weights_and_none_unseen(a: Attention) -> None:
    for visible in _situations():
        rows = _call(_inputs(), visible).block(0, TOKENS)
        weights, seen = a.weights(rows), rows.visible
        if weights.shape != (2, 4, TOKENS, TOKENS):
            raise ContractError(
                f"weights have shape {tuple(weights.shape)}, not [B, H, R, S] = {(2, 4, TOKENS, TOKENS)}"
            )
        if not weights.isfinite().all():
            raise ContractError("weights are not all finite")
        if weights.masked_select(~seen.expand_as(weights)).any():
            raise ContractError("keys that a row may not see have weight")


def _no_look_at_unseen_keys(a: Attention) -> None:
    query, key, value = _inputs()
    other_key, other_value = key.clone(), value.clone()
    other_key[:, :, 20:] += 1.0
    other_value[:, :, 20:] += 1.0
    before, after = (_forward(a, (query, k, v))[:, :, :20] for k, v in ((key, value), (other_key, other_value)))
    _same(before, after, "a row changes with keys that come after it")


def _forward_is_the_definition(a: Attention) -> None:
    for visible in _situations():
        call = _call(_inputs(), visible, layer=1)
        weights = a.weights(call.block(0, TOKENS))
        _same(
            a.forward(call), weighted_sum(weights, call.value), "forward gives something else than weights times values"
        )


def _decoding_and_chunks_are_the_whole(a: Attention) -> None:
    query, key, value = _inputs()
    whole = _forward(a, (query, key, value))
    for start, stop in ((0, 9), (9, 30), (30, 31), (36, 37)):
        part = _forward(a, (query[:, :, start:stop], key[:, :, :stop], value[:, :, :stop]))
        _same(
            part,
            whole[:, :, start:stop],
            f"rows {start} to {stop - 1} differ when they come alone; count keys by rows.n, not by S",
        )


def _padding_changes_nothing(a: Attention) -> None:
    query, key, value = _inputs()
    whole = _forward(a, (query, key, value))
    for left, right in ((5, 0), (0, 5)):
        q, k, v = (torch.nn.functional.pad(x, (0, 0, left, right), value=0.7) for x in (query, key, value))
        real = torch.arange(TOKENS + 5)
        real = (real >= left) & (real < left + TOKENS)
        causal = torch.ones(TOKENS + 5, TOKENS + 5, dtype=torch.bool).tril()
        visible = Visible(TOKENS + 5, TOKENS + 5, (causal & real & real[:, None])[None, None])
        output = a.forward(_call((q, k, v), visible))
        _same(output[:, :, real], whole, "padding changes the rows of real tokens")
        if output[:, :, ~real].any():
            raise ContractError("a row that sees no key must give zeros")


def _half_precision_is_rounding(a: Attention) -> None:
    inputs = _inputs()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        low = [x.to(dtype) for x in inputs]
        exact = _forward(a, tuple(x.double() for x in low))  # type: ignore[arg-type]
        output = _forward(a, tuple(low))  # type: ignore[arg-type]
        if output.dtype != dtype:
            raise ContractError(f"{dtype} in gives {output.dtype} out")
        error = float((output.double() - exact).abs().max() / inputs[2].abs().max())
        if not error < 16 * torch.finfo(dtype).eps * math.sqrt(WIDTH):
            raise ContractError(f"{dtype} is {error:.2g} away from float64, more than rounding explains")


CLAUSES: tuple[Callable[[Attention], None], ...] = (
    _finite_weights_and_none_unseen,
    _no_look_at_unseen_keys,
    _forward_is_the_definition,
    _decoding_and_chunks_are_the_whole,
    _padding_changes_nothing,
    _half_precision_is_rounding,
)


def demand(attention: Attention) -> None:
    """Raise UserError with the first clause of the contract that does not hold."""
    for title, problem in run(attention):
        if problem is not None:
            raise UserError(f"{type(attention).__name__} breaks the contract, {title}: {problem}")


def _inputs() -> Inputs:
    generator = torch.Generator().manual_seed(7)

    def draw(heads: int) -> Tensor:
        return torch.randn(2, heads, TOKENS, WIDTH, dtype=torch.float64, generator=generator)

    return draw(4), draw(2), draw(2)


def _situations() -> Iterator[Visible]:
    """Plain causal; a window; documents packed into one row."""
    yield Visible(TOKENS, TOKENS)
    i, j = torch.arange(TOKENS)[:, None], torch.arange(TOKENS)[None]
    yield Visible(TOKENS, TOKENS, ((j <= i) & (j > i - 6))[None, None])
    yield Visible(TOKENS, TOKENS, ((j <= i) & (i // 11 == j // 11))[None, None])


def _forward(a: Attention, inputs: Inputs) -> Tensor:
    query, key, _ = inputs
    return a.forward(_call(inputs, Visible(query.shape[2], key.shape[2])))


def _call(inputs: Inputs, visible: Visible, layer: int = 0) -> Call:
    return Call(*inputs, visible, SCALING, layer)


def _same(a: Tensor, b: Tensor, problem: str) -> None:
    if a.shape != b.shape:
        raise ContractError(f"{problem} (shapes {tuple(a.shape)} and {tuple(b.shape)})")
    if not (error := float((a - b).abs().max())) < CLOSE:
        raise ContractError(f"{problem} (by {error:.2g})")


def _title(clause: Callable[[Attention], None]) -> str:
    return clause.__name__.strip("_").replace("_", " ")
