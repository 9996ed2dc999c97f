"""The fast paths of LSSA, LSSAR and re-weighted softmax give what the definition gives in float64."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from ssmax_eval.attention import LSSAR, Attention, Call, Rows, Visible, parse
from ssmax_eval.attention.base import by_definition
from ssmax_eval.attention.kernels import native, normalised

SPECS = [
    "lssa", "lssa:qk_norm=false", "lssar", "lssar:p=3", "lssar:p=1", "lssar:p=6,qk_norm=false",
    "softmax_reweighted:p=3", "softmax_reweighted:p=15",
]  # fmt: skip


@pytest.fixture(params=["native", "in place", "in place, in small blocks"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path, whatever the number of rows."""
    monkeypatch.setattr(normalised, "LEAST_ROWS", 1)
    if request.param != "native":
        monkeypatch.setattr(native, "library", lambda: None)
        monkeypatch.setattr(normalised, "NUMBERS", 9000 if "small" in request.param else 1 << 22)
    elif native.library() is None:
        pytest.skip("no C++ compiler")


def _draw(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def _both(
    attention: Attention, query: Tensor, key: Tensor, value: Tensor, scaling: float = 0.3
) -> tuple[Tensor, Tensor]:
    """The fast path, and the definition in float64."""
    visible = Visible(query.shape[2], key.shape[2])
    fast = attention.forward(Call(query, key, value, visible, scaling))
    exact = by_definition(attention, Call(query.double(), key.double(), value.double(), visible, scaling))
    assert fast.dtype == query.dtype
    return fast.double(), exact


SHAPES = [
    (1, 0, 2, 2, 16), (2, 0, 2, 1, 5), (3, 0, 1, 1, 8), (4, 0, 4, 2, 16), (29, 0, 6, 2, 33), (7, 90, 3, 1, 64),
    (131, 0, 2, 1, 48), (1, 64, 2, 2, 16), (70, 210, 3, 3, 16),
]  # fmt: skip
"""Rows, keys before them, query heads, key heads, width of the value."""


@pytest.mark.parametrize("spec", SPECS)
def test_equals_the_definition(spec: str) -> None:
    for rows, past, heads, groups, width in SHAPES:
        inputs = _draw(2, heads, rows, 24), _draw(2, groups, rows + past, 24), _draw(2, groups, rows + past, width)
        fast, exact = _both(parse(spec), *inputs)
        torch.testing.assert_close(fast, exact, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("size", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("spec", ["lssa:qk_norm=false", "lssar:p=3,qk_norm=false"])
def test_scores_that_softplus_underflows_at_keep_their_order(spec: str, size: float) -> None:
    query, key = size * torch.ones(1, 2, 40, 8), -1.0 - 0.01 * _draw(1, 2, 40, 8).abs()
    key[:, :, 30:] *= -1  # rows of a block far below and far above
    fast, exact = _both(parse(spec), query, key, _draw(1, 2, 40, 16))
    torch.testing.assert_close(fast, exact, rtol=2e-2 if size > 100 else 2e-3, atol=2e-3)


@pytest.mark.parametrize("spec", SPECS)
def test_equal_weights_give_zeros_and_nan_stays_nan(spec: str) -> None:
    zeros, value = torch.zeros(1, 1, 40, 8), _draw(1, 1, 40, 16)
    fast, exact = _both(parse(spec), zeros, zeros, value)
    torch.testing.assert_close(fast, exact, rtol=1e-5, atol=1e-6)
    assert bool((fast[:, :, 4:] == 0).all()) == (not spec.startswith("lssa:") and spec != "lssa")
    spoilt = _draw(1, 1, 40, 8)
    spoilt[:, :, 20] = torch.nan
    output, _ = _both(parse(spec), _draw(1, 1, 40, 8), spoilt, value)
    assert bool(output[:, :, 20:].isnan().all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spec", SPECS)
def test_half_precision_is_rounding(spec: str, dtype: torch.dtype) -> None:
    query, key, value = (_draw(1, heads, 70, 24, dtype=dtype) for heads in (4, 2, 2))
    fast, exact = _both(parse(spec), query, key, value)
    assert float((fast - exact).abs().max()) < 4 * torch.finfo(dtype).eps * float(value.abs().max())


@dataclass(frozen=True)
class Mine(LSSAR):
    """A definition of a user's own, on top of one with kernels."""

    def weights(self, rows: Rows) -> Tensor:
        return super().weights(rows)


def test_gradients_and_definitions_of_the_users_own_go_by_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    attend, calls = normalised.attend, list[bool]()

    def counted(query: Tensor, key: Tensor, value: Tensor, soft: bool, p: float | None) -> Tensor:
        calls.append(soft)
        return attend(query, key, value, soft, p)

    monkeypatch.setattr(normalised, "attend", counted)
    x = _draw(1, 2, 9, 8)
    learning, plain = (Call(x, x, x, Visible(9, 9), 0.3) for x in (x.clone().requires_grad_(), x))
    torch.autograd.grad(parse("lssar").forward(learning).sum(), learning.query)
    Mine().forward(plain)
    assert calls == []
    parse("lssar").forward(plain)
    assert calls == [True]
