"""A chunk of queries behind a key-value cache, without a mask, gives what the definition gives."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

from ssmax_eval.attention import Call, Softmax, Visible
from ssmax_eval.attention.base import by_definition
from ssmax_eval.attention.kernels import chunk


def _draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def _exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    visible = Visible(query.shape[2], key.shape[2])
    return by_definition(Softmax(), Call(query.double(), key.double(), value.double(), visible, 0.5))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "groups", "width"), [(2, 2, 16), (6, 2, 16), (3, 1, 16), (4, 2, 7)])
def test_equals_the_definition(heads: int, groups: int, width: int, dtype: torch.dtype) -> None:
    for rows, past in ((2, 1), (2, 300), (37, 5), (37, 80), (120, 1)):
        inputs = _draw(2, heads, rows, 16), _draw(2, groups, rows + past, 16), _draw(2, groups, rows + past, width)
        query, key, value = (x.to(dtype) for x in inputs)
        output = chunk.attend(query, key, value, 0.5)
        assert output.dtype == dtype
        limit = (1e-12 if dtype == torch.float64 else 16 * torch.finfo(dtype).eps) * float(value.double().abs().max())
        assert float((output.double() - _exact(query, key, value)).abs().max()) < limit


def test_scores_far_apart_are_merged_without_overflow() -> None:
    query, key, value = (150 * x for x in (_draw(1, 2, 9, 8), _draw(1, 1, 30, 8), _draw(1, 1, 30, 8)))
    torch.testing.assert_close(chunk.attend(query, key, value, 0.5), _exact(query, key, value))


def test_no_mask_is_made_unless_gradients_need_one(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = (_draw(1, 2, n, 8).requires_grad_() for n in (5, 9, 9))
    assert torch.autograd.gradcheck(lambda q, k, v: chunk.attend(q, k, v, 0.5), (query, key, value), fast_mode=True)
    monkeypatch.setattr(chunk, "scaled_dot_product_attention", None)
    with torch.no_grad():
        torch.testing.assert_close(chunk.attend(query, key, value, 0.5), _exact(query, key, value))


def test_the_bias_that_a_gpu_gets_means_the_same() -> None:
    query, key, value = (_draw(1, 2, n, 8) for n in (5, 9, 9))
    output = scaled_dot_product_attention(query, key, value, attn_mask=causal_lower_right(5, 9), scale=0.5)
    torch.testing.assert_close(output, _exact(query, key, value))
