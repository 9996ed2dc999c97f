"""The fast path of entmax, sparsemax and top-k softmax gives what the definition gives in float64."""

import pytest
import torch

from ssmax_eval.attention import Call, Shape, Visible, parse
from ssmax_eval.attention.base import by_definition
from ssmax_eval.attention.kernels import threshold

SPECS = ["entmax15", "sparsemax", "alpha_entmax:alpha=1.33", "alpha_entmax:alpha=1.05", "asentmax:gamma=1", "topk:k=7"]
ROWS = 70


def _mask() -> torch.Tensor:
    """A window, padding on the left, and a row that sees nothing."""
    i = torch.arange(ROWS)
    seen = (i <= i[:, None]) & (i > i[:, None] - 30) & (i >= 9)
    seen[50] = False
    return seen[None, None]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@torch.no_grad()
def test_equals_the_definition(spec: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = parse(spec).resolve(Shape(2, 4, 64))
    generator = torch.Generator().manual_seed(0)
    for past, mask in ((0, None), (40, None), (0, _mask())):
        query, key, value = (
            (2 * torch.randn(2, heads, tokens, 8, generator=generator)).to(dtype)
            for heads, tokens in ((4, ROWS), (2, ROWS + past), (2, ROWS + past))
        )
        call = Call(query, key, value, Visible(ROWS, ROWS + past, mask), 0.4)
        exact = by_definition(attention, Call(query.double(), key.double(), value.double(), call.visible, 0.4))
        assert threshold.takes(call)
        for numbers in (1 << 20, 9000):
            monkeypatch.setattr(threshold, "NUMBERS", numbers)
            output = attention.forward(call)
            bound = max(1e-11, 40 * torch.finfo(dtype).eps)
            assert output.dtype == dtype
            assert float((output.double() - exact).abs().max()) < bound * float(value.double().abs().max())


def test_it_leaves_gradients_and_extras_to_the_definition() -> None:
    x = torch.randn(1, 2, 40, 4)
    assert not threshold.takes(Call(x, x, x, Visible(40, 40), 1.0))
    with torch.no_grad():
        assert not threshold.takes(Call(x[:, :, :9], x, x, Visible(9, 40), 1.0))
        assert threshold.takes(Call(x, x, x, Visible(40, 40), 1.0))
