"""Gradients are those of the definition, to the last digit, and finite wherever the output is."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ssmax_eval.attention import LSSA, LSSAR, Attention, Call, Shape, SSMax, Visible, base, parse
from ssmax_eval.errors import UserError

SPECS = [
    "softmax", "ssmax:s=0.3,b=0.4", "lssa", "lssa:qk_norm=false", "lssar:p=15", "lssar:p=3",
    "lssar:p=3,qk_norm=false", "softmax_reweighted:p=3", "logn:n_train=3",
]  # fmt: skip
OTHERS = [
    "sparsemax", "alpha_entmax:alpha=1.33", "asentmax:beta=0.5,gamma=0.7", "topk:k=3", "t_softmax:t=2",
    "r_softmax:r=0.3", "multimax2:t0=-0.5,t1=0.25,t2=-0.1,t3=0.1,b0=-1,b1=0,b2=-1,b3=0", "rela", "softmax_n",
    "adaptive_temperature", "sigmoid", "stick_breaking", "stick_breaking:rest=true", "scale_invariant:tau=2",
    "hype:a=3",
]  # fmt: skip
ROWS = 7


def _draw(*shape: int, dtype: torch.dtype = torch.float64, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (size * torch.randn(*shape, dtype=torch.float64, generator=generator)).to(dtype).requires_grad_()


def _inputs(tokens: int = ROWS, **kind: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _draw(1, 4, tokens, 3, **kind), _draw(1, 2, tokens, 3, **kind), _draw(1, 2, tokens, 2, **kind)


def _forward(attention: Attention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    return attention.forward(Call(query, key, value, Visible(query.shape[2], key.shape[2], mask), 0.6))


@pytest.mark.parametrize("block", [1 << 24, 3 * 4 * ROWS])
@pytest.mark.parametrize("spec", [*SPECS, *OTHERS])
def test_gradients_are_numerically_right(spec: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BLOCK_NUMBERS", block)
    attention = parse(spec)
    assert torch.autograd.gradcheck(lambda q, k, v: _forward(attention, q, k, v), _inputs(), fast_mode=True)
    seen = torch.ones(ROWS, ROWS, dtype=torch.bool).tril().triu(-3)[None, None]
    seen[:, :, 4] = False
    assert torch.autograd.gradcheck(lambda q, k, v: _forward(attention, q, k, v, seen), _inputs(), fast_mode=True)


@pytest.mark.parametrize("spec", [*SPECS, "lssar:p=0.5", "lssar:p=1"])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-3, 1.0, 30.0])
def test_float32_gradients_are_never_nan(spec: str, size: float) -> None:
    """Rows of zeros, scores that softplus underflows at, and scores whose exponential overflows."""
    query, key, value = _inputs(140, dtype=torch.float32, size=size)
    seen = torch.ones(140, 140, dtype=torch.bool).tril()
    seen[50] = False
    for mask in (None, seen[None, None]):
        grown = _forward(parse(spec), query, key, value, mask)
        gradients = torch.autograd.grad(grown.square().sum() + grown.sum(), (query, key, value))
        assert all(bool(g.isfinite().all()) for g in (grown, *gradients))


@pytest.mark.parametrize("spec", OTHERS)
def test_float32_gradients_of_few_rows_are_never_nan(spec: str) -> None:
    seen = torch.ones(20, 20, dtype=torch.bool).tril()
    seen[5] = False
    for size in (0.0, 1.0, 30.0):
        inputs = _inputs(20, dtype=torch.float32, size=size)
        grown = _forward(parse(spec), *inputs, seen[None, None])
        gradients = torch.autograd.grad(grown.square().sum() + grown.sum(), inputs)
        assert all(bool(g.isfinite().all()) for g in (grown, *gradients)), size


@pytest.mark.parametrize(
    "spec",
    ["asentmax:beta=0.5,gamma=0.7", "t_softmax:t=2", "multimax2:t0=-0.5,t1=0.2,t2=-0.1,t3=0.1,b0=1,b1=0,b2=1,b3=0"],
)
def test_what_is_learned_gets_its_gradient(spec: str) -> None:
    attention, inputs = parse(spec), _inputs()
    start = torch.tensor([getattr(attention, name) for name in attention.learned], dtype=torch.float64)
    width = attention.size(attention.learned[0], Shape(2, 4, 64))

    def run(values: Tensor) -> Tensor:
        given = {name: value.expand(width) for name, value in zip(attention.learned, values, strict=True)}
        return _forward(replace(attention, **given), *inputs)

    assert torch.autograd.gradcheck(run, start.requires_grad_())
    torch.testing.assert_close(run(start), _forward(attention, *inputs))
    gradient = torch.autograd.grad(run(start).square().sum(), start)[0]
    assert bool((gradient != 0).all()), gradient


@pytest.mark.parametrize("attention", [LSSA(), LSSAR(p=3.0), LSSAR(p=15.0)])
def test_float32_gradients_are_close_to_float64(attention: Attention) -> None:
    low = _inputs(128, dtype=torch.float32)
    exact = [x.detach().double().requires_grad_() for x in low]
    wanted = torch.autograd.grad(_forward(attention, *exact).sum(), exact)
    got = torch.autograd.grad(_forward(attention, *low).sum(), low)
    for a, b in zip(got, wanted, strict=True):
        # Where all weights of a row are nearly equal, the re-weighting divides by what little is above the average.
        assert float((a.double() - b).norm() / b.norm().clamp(min=1e-6)) < 1e-3


def test_ssmax_learns_s_and_b_of_the_layer_that_attends() -> None:
    s, b = (
        torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in ([0.2, 0.5, 1.0, 0.1], [0.0, 1.0, 0.5, 2.0])
    )
    inputs = _inputs()

    def run(s: Tensor, b: Tensor) -> Tensor:
        return _forward(replace(SSMax(), s=s, b=b), *inputs)

    assert torch.autograd.gradcheck(run, (s, b))
    fixed = SSMax(s=(tuple(s.tolist()),), b=(tuple(b.tolist()),))
    torch.testing.assert_close(run(s, b), _forward(fixed, *inputs), rtol=0, atol=0)
    single = _forward(SSMax(s=s.detach().float().requires_grad_()), *(x.detach().float() for x in inputs))
    assert single.requires_grad
    assert single.dtype == torch.float32


def test_a_tensor_is_no_parameter_of_a_checkpoint() -> None:
    with pytest.raises(UserError, match="of one layer"):
        SSMax(s=torch.ones(4)).resolve(Shape(2, 4, 64))


@pytest.mark.parametrize("spec", ["lssar", "lssa", "softmax_reweighted"])
def test_training_holds_no_weights_between_forward_and_backward(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more than one block of rows: nothing of rows × keys numbers is kept for the backward pass."""
    tokens, sizes = 300, list[int]()
    inputs = _inputs(tokens, dtype=torch.float32)

    def packed(x: Tensor) -> Tensor:
        sizes.append(x.numel())
        return x

    def gradients() -> tuple[Tensor, ...]:
        sizes.clear()
        with torch.autograd.graph.saved_tensors_hooks(packed, lambda x: x):
            output = _forward(parse(spec), *inputs)
        return torch.autograd.grad(output.square().sum(), inputs)

    at_once = gradients()
    assert max(sizes) == 4 * tokens * tokens
    monkeypatch.setattr(base, "BLOCK_NUMBERS", 20 * 4 * tokens)
    monkeypatch.setattr(base, "block_numbers", lambda most, device: most)
    in_blocks = gradients()
    assert max(sizes, default=0) <= 4 * tokens * 3
    for one, other in zip(in_blocks, at_once, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
