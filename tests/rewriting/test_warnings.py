"""What an attention loses, and parameters that do not fit."""

import logging

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedModel

from ssmax_eval.attention import LSSA, LSSAR, Attention, Shape, Softmax, SSMax
from ssmax_eval.checkpoint.rope import attention_factor
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import rewritten
from ssmax_eval.rewriting.rewritten import _warn_of_factor
from tests import tiny
from tests.conftest import tiny_config

IDS = torch.arange(3, 27)[None]
YARN = {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 64}


def llama(**rope: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(tiny_config(**({"rope_parameters": rope} if rope else {}))).eval()


def warned(hf: PreTrainedModel, attention: Attention, caplog: pytest.LogCaptureFixture, times: int = 1) -> int:
    _warn_of_factor.cache_clear()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(times):
            with rewritten(hf, attention):
                pass
    return caplog.text.count("takes cosines of queries and keys, so the factor 1.139")


def test_yarn_under_cosines_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    hf = llama(**YARN)
    assert attention_factor(hf) == pytest.approx(1.1386, abs=1e-3)
    assert warned(hf, LSSA(), caplog, times=3) == 1
    assert warned(hf, LSSAR(), caplog) == 1
    for attention in (LSSA(qk_norm=False), Softmax(), SSMax()):
        assert warned(hf, attention, caplog) == 0
    assert warned(llama(), LSSA(), caplog) == 0


def test_the_factor_is_really_lost_under_cosines() -> None:
    """What the warning says: with another factor the logits are the same."""
    outputs = []
    for factor in (1.0, 3.0):
        hf = llama(**YARN, attention_factor=factor)
        with rewritten(hf, LSSA()), torch.no_grad():
            outputs.append(hf(IDS, use_cache=False).logits)
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-4)


def test_a_table_for_other_heads_than_a_layer_has_is_a_user_error() -> None:
    hf = AutoModelForCausalLM.from_config(tiny.config("laguna", num_attention_heads_per_layer=[4, 4, 2, 4])).eval()
    shape = Shape(4, 4, 64)
    table = SSMax(s=((0.1, 0.2, 0.3, 0.4),) * 4)
    with (
        pytest.raises(UserError, match="layer 2 has 2 heads, but the parameters of SSMax are for 4"),
        rewritten(hf, table, shape=shape),
    ):
        pass
    with rewritten(hf, SSMax(s=0.1), shape=shape):
        pass
