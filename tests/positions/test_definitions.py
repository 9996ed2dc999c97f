"""Position maps against an independent rule, pair by pair; fast paths against the definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ssmax_eval.attention import ATTENTIONS, Attention, Call, Shape, SSMax, parse
from ssmax_eval.attention.base import by_definition
from ssmax_eval.attention.kernels import parts
from ssmax_eval.positions import POSITIONS, Rotation
from tests.attention import reference as weights_of
from tests.positions import reference
from tests.positions.examples import (
    BATCH,
    GROUPS,
    HEADS,
    SCALING,
    SPECS,
    TOKENS,
    WIDTH,
    call_of,
    frequencies,
    numpy_of,
    raw,
    roped,
)  # fmt: skip

HALVES = Rotation(frequencies(), "halves")
ROTATIONS = {
    "halves": HALVES,
    "neighbours": Rotation(frequencies(), "neighbours"),
    "partial": Rotation(frequencies(2), "halves"),
    "last numbers": Rotation(frequencies(2), "neighbours", start=4),
}
RTOL, ATOL = 1e-5, 2e-6
"""Angles are float32, as in every model of transformers; sums are float64."""


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_position_map_is_under_contract() -> None:
    assert {spec.split(":")[0] for spec in SPECS} == set(POSITIONS)


def wanted(spec: str, query: Tensor, key: Tensor, rotation: Rotation) -> Tensor:
    """Products [B, H, T, S] of raw queries and keys, NaN where a key is hidden."""
    q, k, f = numpy_of(query, key, rotation.frequencies)
    z = np.empty((BATCH, HEADS, q.shape[2], k.shape[2]))
    for b, h in np.ndindex(BATCH, HEADS):
        pair = q[b, h], k[b, h * GROUPS // HEADS]
        z[b, h] = reference.products(spec.split(":")[0], *pair, f, SPECS[spec], rotation.style, rotation.start)
    return torch.from_numpy(z)


@pytest.mark.parametrize("style", ROTATIONS)
def test_scores_are_those_of_the_rule(spec: str, style: str) -> None:
    query, key, value = raw()
    rotation = ROTATIONS[style]
    call = call_of(spec, roped(query, rotation), roped(key, rotation), value, rotation)
    rows = call.block(0, TOKENS)
    expected = wanted(spec, query, key, rotation)
    seen = ~expected.isnan()
    assert torch.equal(rows.visible.expand(BATCH, HEADS, -1, -1), seen)
    torch.testing.assert_close(rows.scores[seen], SCALING * expected[seen], rtol=RTOL, atol=ATOL)
    lengths = query.norm(dim=-1)[..., None] * key.norm(dim=-1).repeat_interleave(2, 1)[:, :, None]
    torch.testing.assert_close(rows.cosines[seen], (expected / lengths)[seen], rtol=RTOL, atol=ATOL)


def test_every_attention_makes_its_weights_of_these_scores(spec: str) -> None:
    """Vectors are found that have these scores without any RoPE; the reference of the attentions does the rest."""
    query, key, value = raw()
    call = call_of(spec, roped(query, HALVES), roped(key, HALVES), value, HALVES)
    z = wanted(spec, query, key, HALVES)
    for name in ATTENTIONS:
        attention = parse(name).resolve(Shape(2, HEADS, 20))
        output = attention.forward(call)
        for b, h, i in ((0, 0, 0), (0, 2, 7), (0, 3, 22)):
            _same_row(attention, name, output[b, h, i], query[b, h, i], key[b, h // 2], value[b, h // 2], z[b, h, i])


def _same_row(a: Attention, name: str, output: Tensor, query: Tensor, key: Tensor, value: Tensor, z: Tensor) -> None:
    seen = ~z.isnan()
    if "lssa" in name:
        one, two = _with_cosines(z[seen] / (query.norm() * key[seen].norm(dim=-1)))
    else:
        one, two = torch.eye(1, WIDTH, dtype=torch.float64)[0], torch.zeros(int(seen.sum()), WIDTH, dtype=torch.float64)
        two[:, 0] = z[seen]
    p = {key: value for key, value in a.parameters().items() if value is not None}
    q, k = numpy_of(one[None], two)
    weights = weights_of.weights(name, q, k, np.ones((1, len(two)), dtype=bool), SCALING, **p)
    torch.testing.assert_close(output, torch.from_numpy(weights[0]) @ value[seen], rtol=1e-4, atol=1e-5)


def _with_cosines(cosines: Tensor) -> tuple[Tensor, Tensor]:
    query, keys = torch.zeros(WIDTH, dtype=torch.float64), torch.zeros(len(cosines), WIDTH, dtype=torch.float64)
    query[0] = 1.0
    keys[:, 0], keys[:, 1] = cosines, (1 - cosines.square()).clamp(min=0).sqrt()
    return query, keys


@pytest.mark.parametrize("rows", [TOKENS, 1])
@pytest.mark.parametrize("block", [256, 4])
def test_the_fast_path_is_the_definition(spec: str, block: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROWS", block)
    query, key, value = raw()
    q, k = roped(query, HALVES), roped(key, HALVES)
    for attention in (parse("softmax"), parse("ssmax:s=0.4,b=0.2")):
        call = call_of(spec, q[:, :, -rows:], k, value, HALVES)
        torch.testing.assert_close(attention.forward(call), by_definition(attention, call), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["softmax", "lssar"])
def test_plain_rope_where_no_distance_exceeds_the_window(name: str) -> None:
    query, key, value = raw()
    q, k = roped(query, HALVES), roped(key, HALVES)
    attention = parse(name)
    plain = attention.forward(call_of("none", q, k, value, HALVES))
    for spec in ("rerope:window=23", "leaky_rerope:window=23", "self_extend:window=23", "dca:chunk=40,local=11",
                 "streaming:window=24", "lm_infinite:window=23"):  # fmt: skip
        torch.testing.assert_close(attention.forward(call_of(spec, q, k, value, HALVES)), plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("spec", "name"), [("rerope:window=3", "softmax"), ("dca:chunk=4,local=1", "lssa"), ("nope", "ssmax")]
)
def test_gradients_flow(spec: str, name: str) -> None:
    query, key, value = (x[:, :, :7].clone().requires_grad_() for x in raw())
    attention = parse(name).resolve(Shape(2, HEADS, 20))

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention.forward(call_of(spec, q, k, v, HALVES))

    assert torch.autograd.gradcheck(run, (query, key, value), fast_mode=True, rtol=1e-2, atol=1e-5)


def test_a_factor_that_learns_gets_its_gradient() -> None:
    """Where weights are frozen and s alone learns, the kernel steps aside."""
    query, key, value = raw()
    s = torch.full((HEADS,), 0.4, requires_grad=True)
    call = call_of("rerope:window=5", query.float(), key.float(), value.float(), HALVES)
    replace(SSMax(b=0.0), s=s).forward(call).square().sum().backward()
    assert s.grad is not None
    assert bool((s.grad != 0).all())


def test_half_precision_is_rounding(spec: str) -> None:
    query, key, value = (x.bfloat16() for x in raw())
    low = parse("softmax").forward(call_of(spec, query, key, value, HALVES))
    exact = parse("softmax").forward(call_of(spec, query.double(), key.double(), value.double(), HALVES))
    assert low.dtype == torch.bfloat16
    assert float((low.double() - exact).abs().max()) < 2**-8 * 4 * math.sqrt(WIDTH)


def test_memory_of_the_fast_path_is_linear() -> None:
    """No tensor of rows × keys is made: only strips as wide as a block of rows have a mask."""
    first = torch.arange(1000, 1256)
    cut = list(parts.strips(first, first + 5000))
    assert [(s.start, s.stop, s.seen is None) for s in cut] == [
        (1000, 1255, False), (1255, 6000, True), (6000, 6255, False)
    ]  # fmt: skip
    assert isinstance(call_of("nope", *raw(), HALVES), Call)
