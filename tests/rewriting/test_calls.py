"""What an additive mask says: which keys are hidden, and which only get a bias."""

import pytest
import torch
from transformers import LlamaForCausalLM

import ssmax_eval
from ssmax_eval.rewriting.calls import read_mask

CAUSAL = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
HIDING = [-1e4, -65504.0, -1e9, torch.finfo(torch.float32).min, -torch.inf]
"""What people write where a key shall be hidden; -65504 is the least number of float16."""


@pytest.mark.parametrize("value", HIDING)
@pytest.mark.parametrize("spec", ["softmax", "ssmax:s=0.4", "lssar:p=3", "logn:n_train=4"])
def test_every_hiding_value_hides(spec: str, value: float, tiny_hf: LlamaForCausalLM) -> None:
    """Under softmax it makes no difference; a key that only had a bias would count in n."""
    ids = torch.arange(3, 33)[None]
    seen = torch.ones(30, 30, dtype=torch.bool).tril()
    seen[20:, 3:12] = False  # a gap, so that n is not the position
    additive = torch.zeros(30, 30, dtype=torch.float64).masked_fill(~seen, value)[None, None]
    with ssmax_eval.rewritten(tiny_hf, spec), torch.no_grad():
        wanted = tiny_hf(input_ids=ids, attention_mask=seen[None, None], use_cache=False).logits
        torch.testing.assert_close(tiny_hf(input_ids=ids, attention_mask=additive, use_cache=False).logits, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", HIDING)
def test_every_dtype_hides(value: float, dtype: torch.dtype) -> None:
    mask = torch.zeros(1, 1, 6, 6, dtype=torch.float64).masked_fill(~CAUSAL, value).to(dtype)
    visible, bias = read_mask(mask, 6, 6)
    assert bias is None
    assert visible.mask is not None
    assert torch.equal(visible.mask, CAUSAL)


@pytest.mark.parametrize("value", [-9e3, -100.0, -0.5, 2.0])
def test_what_does_not_hide_is_a_bias_and_counts(value: float) -> None:
    mask = torch.zeros(1, 1, 6, 6).masked_fill(~CAUSAL, -1e9)
    mask[..., 4, 1] = value
    visible, bias = read_mask(mask, 6, 6)
    assert visible.counts(mask.device)[0, 0, 4].item() == 5
    assert bias is not None
    assert bias[0, 0, 4, 1] == value
    assert bias.count_nonzero() == 1
