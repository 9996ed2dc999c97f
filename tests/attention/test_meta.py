"""Every attention on torch's meta device: a tensor that is made on the processor instead of where the query is fails.

That is what a GPU would show first, and it needs none. Reading a number on the way (`.item()`, `bool(tensor)`) fails
here too; on a GPU it is right, and makes every call wait.

What a GPU shows and this does not: wrong numbers; kernels for CUDA alone (Triton's, flash, `causal_lower_right`);
memory; a tensor of no dimensions on the processor, which may meet any device; copies between two devices; a dtype that
a GPU lacks; streams that do not wait for each other.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from ssmax_eval.attention import ATTENTIONS, Attention, Call, Extras, Visible, parse
from ssmax_eval.attention.call import PLAIN
from ssmax_eval.attention.contract import SCALING, SHAPE, WIDTH
from ssmax_eval.model.cache import Stack
from ssmax_eval.model.offloading import HERE, Keep
from ssmax_eval.model.passes import Pass, read_on
from ssmax_eval.rewriting.backends import _flash_visible
from ssmax_eval.rewriting.calls import limit, read_mask
from ssmax_eval.rewriting.rewritten import rewritten
from tests.conftest import tiny_config

META = torch.device("meta")
TABLE = tuple(tuple(0.1 * (layer + head + 1) for head in range(SHAPE.heads)) for layer in range(SHAPE.layers))
TOKENS = 140
"""More than the rows from which kernels apply."""


def attentions() -> Iterator[tuple[str, Attention]]:
    """Each of the catalogue with its defaults, and with a table for each parameter that is learned."""
    for name in ATTENTIONS:
        yield name, parse(name).resolve(SHAPE)
        cls = ATTENTIONS[name]
        if cls.learned:
            found = dict.fromkeys(cls.learned, TABLE)
            yield f"{name} with tables", parse(name).resolve(replace(SHAPE, from_weights=found))


ALL = dict(attentions())


def calls(attention: Attention) -> Iterator[Call]:
    """Prefill, a chunk behind a cache, a token, a window, and all that the attention honours besides."""

    def call(
        rows: int, keys: int, mask: Tensor | None = None, extras: Extras = PLAIN, dtype: torch.dtype = torch.float32
    ) -> Call:
        query, key, value = (
            torch.empty(2, heads, length, WIDTH, device=META, dtype=dtype)
            for heads, length in ((4, rows), (2, keys), (2, keys))
        )
        return Call(query, key, value, Visible(rows, keys, mask), SCALING, 1, extras)

    for dtype in (torch.float32, torch.bfloat16):
        yield call(TOKENS, TOKENS, dtype=dtype)
        yield call(3, TOKENS, dtype=dtype)
    yield call(TOKENS, TOKENS + 9)
    yield call(1, TOKENS)
    yield call(9, 9, torch.empty(2, 1, 9, 9, dtype=torch.bool, device=META))
    given = {
        "softcap": 30.0,
        "bias": torch.empty(1, 4, 9, 9, device=META),
        "sink": torch.empty(1, 4, 1, 1, device=META),
    }
    for name in sorted(attention.honours):
        yield call(9, 9, extras=Extras(**{name: given[name]}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
def test_every_attention_stays_on_the_device_of_its_query(name: str) -> None:
    attention = ALL[name]
    for call in calls(attention):
        output = attention.forward(call)
        assert output.device == META
        assert output.shape == call.query.shape
        assert output.dtype == call.query.dtype
        at = torch.tensor([-2, 0], device=META)
        looked_at = attention.weights(call.at(at, call.query[:, :, [0, 0]]))
        assert looked_at.shape == (2, 4, 2, call.visible.keys)
        n = call.visible.counts(META)
        assert n.device == call.visible.all(META).device == META


@pytest.mark.parametrize(
    ("name", "keep"), [("softmax", HERE), ("ssmax with tables", Keep(spread=True)), ("lssar", HERE)]
)
def test_a_model_stays_on_its_device(name: str, keep: Keep) -> None:
    hf = LlamaForCausalLM(tiny_config()).to(META).eval()
    ids = torch.empty(1, 40, dtype=torch.long, device=META)
    with rewritten(hf, ALL[name], verify=False) as rewriting, torch.inference_mode():
        reading = Pass(hf, rewriting, room=40, keep=keep)
        for start, stop in ((0, 20), (20, 40)):
            hidden = reading.read(ids[:, start:stop], [3, 25])[0][0]
        reading.cut(30)
        assert hidden.device == META
        assert reading.cache is not None
        stack = Stack(hf.config, reading.cache, rows=2, length=30, room=4)
        stack.add(reading.cache)
        stack.add(reading.cache)
        assert read_on(reading.body, rewriting, stack, ids[:, :2].T)[0].device == META


def test_masks_stay_on_their_device() -> None:
    mask = torch.empty(1, 1, 5, 9, dtype=torch.bool, device=META)
    for visible in (
        read_mask(mask, 5, 9)[0],
        limit(Visible(5, 9), torch.empty(1, 5, 3, dtype=torch.long, device=META), META),
        _flash_visible(torch.empty(1, 9, dtype=torch.long, device=META), 5, 9, 4),
        _flash_visible(None, 5, 9, 4),
    ):
        assert visible.counts(META).device == visible.all(META).device == META
