"""The contract: what every registered attention must do, against an independent definition in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ssmax_eval.attention import ATTENTIONS, Attention, Call, Rows, Shape, SSMax, Visible, base, parse
from ssmax_eval.attention.functions import weighted_sum
from ssmax_eval.attention.per_n import PerN
from ssmax_eval.errors import UserError
from tests.attention import reference

SPECS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "ssmax:s=0.43": {"s": 0.43},
    "ssmax:s=0.3,b=0.5": {"s": 0.3, "b": 0.5},
    "ssmax:s=1": {"s": 1.0},
    "lssa": {},
    "lssa:qk_norm=false": {"qk_norm": False},
    "lssar": {"p": 15},
    "lssar:p=3": {"p": 3},
    "lssar:p=3,qk_norm=false": {"p": 3, "qk_norm": False},
    "softmax_reweighted:p=3": {"p": 3},
    "logn:n_train=12": {"n_train": 12},
    "temperature:beta=0.5,f=8": {"beta": 0.5, "f": 8},
    "per_n:p=2": {"p": 2.0},
    "sparsemax": {},
    "entmax15": {},
    "alpha_entmax:alpha=1.33": {"alpha": 1.33},
    "asentmax:beta=0.5,gamma=0.7": {"beta": 0.5, "gamma": 0.7},
    "topk:k=5": {"k": 5},
    "t_softmax:t=3": {"t": 3.0},
    "r_softmax:r=0.3": {"r": 0.3},
    "multimax:t0=-1,t1=0.5,b0=0.1,b1=0.2": {"t0": -1.0, "t1": 0.5, "b0": 0.1, "b1": 0.2},
    "multimax2:t0=-0.5,t1=0.25,t2=-0.1,t3=0.1,b0=-1,b1=0,b2=-1,b3=0.1": (
        {"t0": -0.5, "t1": 0.25, "t2": -0.1, "t3": 0.1, "b0": -1.0, "b1": 0.0, "b2": -1.0, "b3": 0.1}
    ),
    "rela": {},
    "softmax_n:n=2": {"n": 2.0},
    "adaptive_temperature": {},
    "sigmoid": {},
    "stick_breaking": {},
    "stick_breaking:rest=true": {"rest": True},
    "scale_invariant:tau=4": {"tau": 4.0},
    "llama4:f=8": {"f": 8},
    "ministral:n_train=8,beta=0.5": {"n_train": 8, "beta": 0.5},
    "inkling:f=8,alpha=0.3": {"f": 8, "alpha": 0.3},
    "grok:n_train=8": {"n_train": 8},
    "hype:a=20": {"a": 20.0},
}
NO_SUM = {"rela", "softmax_n:n=2", "sigmoid", "stick_breaking"}
"""Rows of these do not sum to 1."""
SCALING = 0.3
BATCH, HEADS, GROUPS, TOKENS, WIDTH = 2, 4, 2, 37, 8


@pytest.fixture(params=SPECS)
def spec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tensors(dtype: torch.dtype = torch.float64, tokens: int = TOKENS) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def draw(heads: int) -> Tensor:
        return (2 * torch.randn(BATCH, heads, tokens, WIDTH, generator=generator, dtype=torch.float64)).to(dtype)

    return draw(HEADS), draw(GROUPS), draw(GROUPS)


def causal(window: int | None = None, padding: tuple[int, ...] = (0, 0)) -> Tensor:
    """[B, 1, T, T]: causal, with a sliding window and with padding on the left of each sequence."""
    i, j = torch.arange(TOKENS)[:, None], torch.arange(TOKENS)[None]
    seen = (j <= i) & ((i - j < window) if window else True)
    return torch.stack([seen & (j >= pad) for pad in padding])[:, None]


def expected(spec: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    name = spec.split(":")[0]
    q, k, v, seen = (x.double().numpy() if x.dtype != torch.bool else x.numpy() for x in (query, key, value, mask))
    output = np.zeros((*q.shape[:3], v.shape[-1]))
    for b, h in np.ndindex(q.shape[:2]):
        group = h * k.shape[1] // q.shape[1]
        rows = seen[min(b, seen.shape[0] - 1), 0]
        output[b, h] = reference.weights(name, q[b, h], k[b, group], rows, SCALING, **SPECS[spec]) @ v[b, group]
    return torch.from_numpy(output)


def run(attention: Attention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    return attention.forward(Call(query, key, value, Visible(query.shape[2], key.shape[2], mask), SCALING))


def test_every_attention_is_under_contract() -> None:
    assert {spec.split(":")[0] for spec in SPECS} == set(ATTENTIONS)


@pytest.mark.parametrize(
    "mask",
    [None, causal(window=5), causal(padding=(0, 9)), causal(window=4, padding=(3, 0))],
    ids=["causal", "window", "left padding", "both"],
)
def test_equals_the_definition(spec: str, mask: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = tensors()
    wanted = expected(spec, query, key, value, causal() if mask is None else mask)
    for block in (1 << 24, 700):
        monkeypatch.setattr(base, "BLOCK_NUMBERS", block)
        torch.testing.assert_close(run(parse(spec), query, key, value, mask), wanted, rtol=1e-9, atol=1e-10)


def test_weights_sum_to_one_and_give_the_forward_pass(spec: str) -> None:
    query, key, value = tensors()
    seen, attention = causal(padding=(0, 9)), parse(spec)
    a = attention.weights(Rows(query, key, seen, SCALING))
    assert float(a.masked_fill(seen, 0.0).abs().max()) == 0.0
    total = a.sum(-1)
    assert spec in NO_SUM or bool(torch.isclose(total, torch.ones_like(total)).logical_or(total == 0).all())
    torch.testing.assert_close(weighted_sum(a, value), run(attention, query, key, value, seen))


def test_float32_stays_close_to_the_definition(spec: str) -> None:
    query, key, value = tensors(torch.float32)
    torch.testing.assert_close(
        run(parse(spec), query, key, value).double(), expected(spec, query, key, value, causal()), rtol=1e-4, atol=2e-4
    )


def test_bfloat16_stays_within_its_rounding(spec: str) -> None:
    query, key, value = (x / 2 for x in tensors(torch.bfloat16))
    error = run(parse(spec), query, key, value).double() - expected(spec, query, key, value, causal())
    # 2^-8 is half a unit in the last place of bfloat16; a power of 15 multiplies what the weights are off by.
    assert float(error.square().mean().sqrt()) < 2**-8 * (15 if "lssar" in spec else 4)


def test_decoding_equals_prefill(spec: str) -> None:
    query, key, value = tensors()
    whole = run(parse(spec), query, key, value)
    for start, stop in ((TOKENS - 1, TOKENS), (20, 29), (0, 1)):
        piece = run(
            parse(spec), query[:, :, start:stop], key[:, :, :stop], value[:, :, :stop], _lower_right(start, stop)
        )
        torch.testing.assert_close(piece, whole[:, :, start:stop])


def _lower_right(start: int, stop: int) -> Tensor | None:
    return None if stop - start == 1 else causal()[:, :, start:stop, :stop]


def test_padding_changes_nothing(spec: str) -> None:
    query, key, value = tensors()
    pad = 9
    padded = run(parse(spec), query, key, value, causal(padding=(pad, pad)))
    bare = run(parse(spec), query[:, :, pad:], key[:, :, pad:], value[:, :, pad:])
    torch.testing.assert_close(padded[:, :, pad:], bare)
    assert float(padded[:, :, :pad].abs().max()) == 0.0


def test_no_row_sees_the_future(spec: str) -> None:
    query, key, value = tensors()
    before = run(parse(spec), query, key, value)
    key, value = key.clone(), value.clone()
    key[:, :, 20:], value[:, :, 20:] = 50.0, 1e6
    torch.testing.assert_close(run(parse(spec), query, key, value)[:, :, :20], before[:, :, :20], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_dominant_score_among_20_000_keys_is_finite_and_wins(spec: str, dtype: torch.dtype) -> None:
    keys = 20_000
    query = torch.ones(1, 1, 1, WIDTH, dtype=dtype)
    key = -torch.ones(1, 1, keys, WIDTH, dtype=dtype)
    key[:, :, 7] = 4.0
    value = torch.zeros(1, 1, keys, 1, dtype=dtype)
    value[:, :, 7] = 1.0
    output = float(run(parse(spec), query, key, value))
    assert math.isfinite(output)
    assert output == pytest.approx(
        float(expected(spec, query, key, value, torch.ones(1, 1, 1, keys, dtype=torch.bool))), rel=1e-2, abs=1e-2
    )
    if "stick_breaking" not in spec:  # there the nearest keys take all
        assert output > (0.25 if spec not in ("lssa", "lssa:qk_norm=false") else 1e-4)


def test_equal_weights_and_empty_rows_give_zeros_or_the_mean_but_never_nan(spec: str) -> None:
    query = key = torch.zeros(1, 1, 10, WIDTH)
    value = torch.ones(1, 1, 10, 1)
    output = run(parse(spec), query, key, value)[0, 0, :, 0]
    if "lssar" in spec or "reweighted" in spec:
        # n a = 1 for every key: nothing is above the average once o is 1, that is from four keys on.
        torch.testing.assert_close(output, torch.tensor([1.0] * 3 + [0.0] * 7))
    elif spec in NO_SUM:
        mask = torch.ones(1, 1, 10, 10, dtype=torch.bool).tril()
        torch.testing.assert_close(output, expected(spec, query, key, value, mask)[0, 0, :, 0].float())
    else:
        torch.testing.assert_close(output, torch.ones(10))
    nothing = run(parse(spec), query, key, value, torch.zeros(1, 1, 10, 10, dtype=torch.bool))
    assert float(nothing.abs().max()) == 0.0


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("rows", [1, 5, 200])
def test_tensors_are_made_where_the_call_lies(spec: str, rows: int, masked: bool) -> None:
    """On the meta device, a tensor of any other device is an error: what would fail on a GPU fails here."""
    keys = 250
    query, key = (torch.empty(2, heads, n, WIDTH, device="meta") for heads, n in ((HEADS, rows), (GROUPS, keys)))
    mask = torch.empty(2, 1, rows, keys, dtype=torch.bool, device="meta") if masked else None
    attention = parse(spec).resolve(Shape(2, HEADS, 20))
    call = Call(query, key, key, Visible(rows, keys, mask), SCALING)
    by_kernel, defined = attention.forward(call), attention.weights(call.at(torch.arange(rows, device="meta")))
    assert (by_kernel.device.type, by_kernel.shape) == ("meta", query.shape)
    assert (defined.device.type, defined.shape) == ("meta", (2, HEADS, rows, keys))


@pytest.mark.parametrize("attention", [SSMax(s=((0.1,) * HEADS,) * 2), PerN(p=((0.1,) * 20,) * 2)])
def test_tables_of_values_are_made_where_the_call_lies(attention: Attention) -> None:
    x = torch.empty(2, HEADS, 30, WIDTH, device="meta")
    assert attention.forward(Call(x, x, x, Visible(30, 30), SCALING, layer=1)).device.type == "meta"


def test_very_negative_products_do_not_underflow() -> None:
    query = torch.full((1, 1, 1, WIDTH), 30.0)
    key = -torch.rand(1, 1, 50, WIDTH, generator=torch.Generator().manual_seed(0)) - 1.0
    a = parse("lssa:qk_norm=false").weights(Rows(query, key, torch.ones(1, 1, 1, 50, dtype=torch.bool), SCALING))
    assert float(a.sum()) == pytest.approx(1.0)


FIGURE_1 = {
    10: (0.942826, 0.940101),
    100: (0.599860, 0.995063),
    1_000: (0.129346, 0.999646),
    10_000: (0.014626, 0.999975),
    100_000: (0.001482, 0.999998),
}


@pytest.mark.parametrize("n", FIGURE_1)
def test_figure_1_of_the_ssmax_paper(n: int) -> None:
    query = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    key = torch.full((1, 1, n, 1), -2.0, dtype=torch.float64)
    key[..., 0, 0] = 3.0
    seen = torch.ones(1, 1, 1, n, dtype=torch.bool)
    largest = [float(parse(s).weights(Rows(query, key, seen, 1.0)).max()) for s in ("softmax", "ssmax:s=0.43")]
    assert largest == pytest.approx(FIGURE_1[n], abs=5e-7)


def test_parameters_of_each_layer_and_head() -> None:
    s = ((0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8))
    query, key, value = tensors()
    attention = SSMax(s=s, b=((0.0,) * 4, (0.5,) * 4))
    for layer in (0, 1):
        call = Call(query, key, value, Visible(TOKENS, TOKENS), SCALING, layer)
        whole = attention.forward(call)
        for head in range(HEADS):
            one = SSMax(s=s[layer][head], b=0.5 * layer)
            mine = one.forward(call)
            torch.testing.assert_close(whole[:, head], mine[:, head])


def test_a_factor_for_every_n_is_read_off_its_table() -> None:
    """Rows of any mask take the factor of the keys that they see; beyond the table, its last."""
    query, key, value = tensors()
    table = tuple(0.1 + 0.05 * n**0.5 for n in range(1, 21))
    attention = PerN(p=((0.0,) * 20, table)).resolve(Shape(2, HEADS, 20))
    mask = causal(window=25, padding=(0, 9))
    given = attention.forward(Call(query, key, value, Visible(TOKENS, TOKENS, mask), SCALING, layer=1))
    plain = attention.forward(Call(query, key, value, Visible(TOKENS, TOKENS), SCALING, layer=1))
    for b, i in ((0, 0), (0, 12), (0, 36), (1, 12), (1, 36)):
        seen = mask[b, 0, i]
        z = table[min(int(seen.sum()), 20) - 1] * SCALING * (key[b, 0, seen] @ query[b, 0, i])
        torch.testing.assert_close(given[b, 0, i], z.softmax(-1) @ value[b, 0, seen])
    torch.testing.assert_close(given[0, :, :25], plain[0, :, :25])
    assert PerN().resolve(Shape(2, HEADS, 20)).p == 1.0
    with pytest.raises(UserError, match="3 layers, but the checkpoint has 2"):
        PerN(p=((1.0,),) * 3).resolve(Shape(2, HEADS, 20))
