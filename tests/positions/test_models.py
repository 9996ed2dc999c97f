"""Position maps in whole models: against the rule, in pieces, behind padding, in packed documents; and refusals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    StaticCache,
)
from transformers.models.llama import modeling_llama

import ssmax_eval
from ssmax_eval.attention import Attention, Rows, masked_softmax
from ssmax_eval.attention.functions import products
from ssmax_eval.errors import UserError
from tests import tiny
from tests.conftest import tiny_config
from tests.positions import reference
from tests.positions.examples import SPECS

IDS = torch.randint(3, 600, (2, 24), generator=torch.Generator().manual_seed(3))
RTOL, ATOL = 1e-4, 1e-5
"""Cosines and sines are float32 in every model."""


@torch.no_grad()
def logits(hf: Any, ids: Tensor = IDS, **more: Any) -> Tensor:
    output: Tensor = hf(input_ids=ids, use_cache=False, **more).logits
    return output


@pytest.mark.parametrize("spec", SPECS)
def test_a_whole_model_gives_what_the_rule_gives(
    spec: str, tiny_hf: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same model without RoPE, whose attention turns raw queries and keys pair by pair."""
    ids = IDS[:1]
    frequencies = tiny_hf.model.rotary_emb.inv_freq.double().numpy()
    with ssmax_eval.rewritten(tiny_hf, "softmax", position=spec):
        ours = logits(tiny_hf, ids)

    def by_rule(module, query, key, value, *_: object, scaling: float, **__: object):  # type: ignore[no-untyped-def]
        output = torch.zeros_like(query)
        for h in range(query.shape[1]):
            q, k, v = (x[0, h * x.shape[1] // query.shape[1]].detach().numpy() for x in (query, key, value))
            z = scaling * reference.products(spec.split(":")[0], q, k, frequencies, SPECS[spec])
            e = np.nan_to_num(np.exp(z - np.nanmax(z, 1, keepdims=True)))
            output[0, h] = torch.from_numpy(e / e.sum(1, keepdims=True) @ v)
        return output.transpose(1, 2), None

    monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", lambda q, k, *_: (q, k))
    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", by_rule)
    torch.testing.assert_close(ours, logits(tiny_hf, ids), rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(("spec", "attention"), list(zip(SPECS, ["ssmax:s=0.4", "lssar:p=3"] * 4, strict=True)))
def test_pieces_padding_and_packed_documents_give_the_same(
    spec: str, attention: str, tiny_hf: LlamaForCausalLM
) -> None:
    with ssmax_eval.rewritten(tiny_hf, attention, position=spec), torch.no_grad():
        whole = logits(tiny_hf)
        out = tiny_hf(input_ids=IDS[:, :13], use_cache=True)
        pieces = [out.logits]
        for start, stop in ((13, 14), (14, 23), (23, 24)):
            out = tiny_hf(input_ids=IDS[:, start:stop], past_key_values=out.past_key_values, use_cache=True)
            pieces.append(out.logits)
        torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=RTOL, atol=ATOL)

        pad = 7
        padded = torch.cat([torch.ones(2, pad, dtype=torch.long), IDS], 1)
        mask = (torch.arange(24 + pad) >= pad).long().expand(2, -1)
        positions = (torch.arange(24 + pad) - pad).clamp(min=0)[None].expand(2, -1)
        for given in ({}, {"position_ids": positions}):
            together = logits(tiny_hf, padded, attention_mask=mask, **given)
            torch.testing.assert_close(together[:, pad:], whole, rtol=RTOL, atol=ATOL)
        begun = tiny_hf(input_ids=padded[:, :20], attention_mask=mask[:, :20], position_ids=positions[:, :20])
        rest = tiny_hf(
            input_ids=padded[:, 20:], attention_mask=mask, position_ids=positions[:, 20:],
            past_key_values=begun.past_key_values,
        )  # fmt: skip
        torch.testing.assert_close(torch.cat((begun.logits, rest.logits), 1)[:, pad:], whole, rtol=RTOL, atol=ATOL)

        document = torch.arange(34) < 10
        packed = torch.cat((IDS[1:, :10], IDS[:1]), 1)
        seen = (document[:, None] == document[None]) & torch.ones(34, 34, dtype=torch.bool).tril()
        restarting = torch.cat((torch.arange(10), torch.arange(24)))[None]
        for given in ({}, {"position_ids": restarting}):
            both = logits(tiny_hf, packed, attention_mask=seen[None, None], **given)
            torch.testing.assert_close(both[0, 10:], whole[0], rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("spec", ["dca:chunk=9,local=3", "streaming:sinks=2,window=6"])
def test_a_static_cache_and_generate(spec: str, tiny_hf: LlamaForCausalLM) -> None:
    with ssmax_eval.rewritten(tiny_hf, "softmax", position=spec), torch.no_grad():
        whole, cache = logits(tiny_hf), StaticCache(tiny_hf.config, max_cache_len=40)
        pieces = [tiny_hf(input_ids=x, past_key_values=cache, use_cache=True).logits for x in IDS.split((20, 1, 3), 1)]
        torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=RTOL, atol=ATOL)
        written = tiny_hf.generate(IDS, max_new_tokens=5, do_sample=False, eos_token_id=None, pad_token_id=1)
        following = logits(tiny_hf, written)[:, 23:-1].argmax(-1)
        assert written[:, 24:].tolist() == following.tolist()


@pytest.mark.parametrize("kind", ["cohere", "gpt_neox", "gemma3_text", "deepseek_v3", "nanochat", "smollm3"])
def test_without_positions_a_model_is_as_if_all_tokens_were_at_0(kind: str) -> None:
    """Neighbours, some numbers of a head, two tables, latent attention, the other direction, layers without RoPE."""
    torch.manual_seed(0)
    hf = AutoModelForCausalLM.from_config(tiny.config(kind, initializer_range=0.3)).float().eval()
    ids, mask = torch.arange(3, 23)[None], torch.ones(1, 20, dtype=torch.long)
    with ssmax_eval.rewritten(hf, "softmax"):
        at_zero = logits(hf, ids, attention_mask=mask, position_ids=torch.zeros_like(ids))
        plain = logits(hf, ids)
    with ssmax_eval.rewritten(hf, "softmax", position="nope"):
        torch.testing.assert_close(logits(hf, ids), at_zero, rtol=1e-3, atol=1e-3)
    with ssmax_eval.rewritten(hf, "softmax", position="rerope:window=20"):
        torch.testing.assert_close(logits(hf, ids), plain, rtol=1e-5, atol=2e-5)
    assert float((at_zero - plain).abs().max()) > 0.05


def test_a_rope_that_is_scaled_keeps_its_scaling() -> None:
    """YaRN has frequencies of its own, and a factor on queries and keys that no map takes away."""
    torch.manual_seed(0)
    yarn = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 16}
    hf = LlamaForCausalLM(tiny_config(rope_parameters=yarn)).double().eval()
    with ssmax_eval.rewritten(hf, "softmax", position="nope"):
        turned_back = logits(hf)
    with ssmax_eval.rewritten(hf, "softmax"):
        mask = torch.ones_like(IDS)
        torch.testing.assert_close(
            turned_back, logits(hf, attention_mask=mask, position_ids=torch.zeros_like(IDS)), rtol=RTOL, atol=ATOL
        )


@dataclass(frozen=True)
class Own(Attention):
    """Takes products by itself."""

    def weights(self, rows: Rows) -> Tensor:
        return masked_softmax(products(rows.query, rows.key, rows.scaling), rows.visible)


def test_what_cannot_be_done_is_refused(tiny_hf: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    gpt2 = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=50)).eval()
    torch.manual_seed(0)
    dynamic = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    cases: list[tuple[Any, Any, str]] = [
        (gpt2, "softmax", "has no RoPE"),
        (LlamaForCausalLM(tiny_config(rope_parameters=dynamic)).eval(), "softmax", "dynamic NTK or LongRoPE"),
        (tiny_hf, Own(), "multiplies queries and keys by itself"),
    ]
    for hf, attention, message in cases:
        with pytest.raises(UserError, match=message), ssmax_eval.rewritten(hf, attention, position="nope"):
            pass
    with ssmax_eval.rewritten(tiny_hf, "softmax", position="nope"):
        gap = torch.arange(24)[None] + (torch.arange(24) > 9)
        with pytest.raises(UserError, match="with gaps"):
            logits(tiny_hf, position_ids=gap, attention_mask=torch.ones_like(IDS))
        begun = tiny_hf(input_ids=IDS, use_cache=True)
        with pytest.raises(UserError, match="not known"):
            tiny_hf(input_ids=IDS[:, :1], position_ids=torch.full((2, 1), 30), past_key_values=begun.past_key_values)
    own = modeling_llama.apply_rotary_pos_emb
    monkeypatch.setattr(
        modeling_llama, "apply_rotary_pos_emb", lambda q, k, cos, sin, *_: own(q, k, cos.square(), sin.square())
    )
    with pytest.raises(UserError, match="is not known here"), ssmax_eval.rewritten(tiny_hf, "softmax", position="nope"):
        pass
