"""Rewriting somebody else's model: faithful, complete, causal, and undone afterwards."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from transformers import (
    AttentionInterface,
    BloomConfig,
    BloomForCausalLM,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.models.llama import modeling_llama

import ssmax_eval
from ssmax_eval.attention import ATTENTIONS, Attention, Call, Rows, parse
from ssmax_eval.errors import UserError
from tests.attention import reference
from tests.attention.test_definitions import SPECS
from tests.conftest import tiny_config

IDS = torch.randint(3, 600, (2, 40), generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def logits(hf: LlamaForCausalLM, ids: Tensor = IDS, **more: Tensor) -> Tensor:
    output: Tensor = hf(input_ids=ids, use_cache=False, **more).logits
    return output


def test_softmax_is_the_models_own_output(tiny_hf: LlamaForCausalLM) -> None:
    own = logits(tiny_hf)
    with ssmax_eval.rewritten(tiny_hf, "softmax"):
        torch.testing.assert_close(logits(tiny_hf), own)


def test_the_model_is_restored(tiny_hf: LlamaForCausalLM) -> None:
    own, names = logits(tiny_hf), set(AttentionInterface())
    with pytest.raises(RuntimeError, match="in between"), ssmax_eval.rewritten(tiny_hf, "ssmax"):
        assert not torch.allclose(logits(tiny_hf), own)
        with ssmax_eval.rewritten(tiny_hf, "softmax"):
            torch.testing.assert_close(logits(tiny_hf), own)
        assert not torch.allclose(logits(tiny_hf), own)
        raise RuntimeError("in between")
    torch.testing.assert_close(logits(tiny_hf), own, rtol=0, atol=0)
    assert tiny_hf.config._attn_implementation == "sdpa"
    assert set(AttentionInterface()) == names


KINDS = [*list(SPECS)[:13], "entmax15", "stick_breaking", "hype:a=20"]
"""One or more of each kind of attention: to a model, the others are no different."""


@pytest.mark.parametrize("spec", KINDS)
@pytest.mark.parametrize("window", [None, 6])
def test_a_whole_model_gives_what_the_definition_gives(
    spec: str, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same model whose eager attention is replaced by the numpy reference, with a mask of our own."""
    torch.manual_seed(0)
    config = MistralConfig(**{**tiny_config().to_dict(), "model_type": "mistral", "sliding_window": window})
    hf = MistralForCausalLM(config).double().eval()
    ids = IDS[:1, :20]
    with ssmax_eval.rewritten(hf, spec):
        ours = logits(hf, ids)

    def by_definition(module, query, key, value, *_: object, scaling: float, **__: object):  # type: ignore[no-untyped-def]
        i, j = torch.arange(20)[:, None], torch.arange(20)[None]
        seen = ((j <= i) & (i - j < (window or 99))).numpy()
        output = torch.zeros_like(query)
        for h in range(query.shape[1]):
            q, k, v = (x[0, h // (query.shape[1] // x.shape[1])].detach().numpy() for x in (query, key, value))
            a = reference.weights(spec.split(":")[0], q, k, seen, scaling, **SPECS[spec])
            output[0, h] = torch.from_numpy(a @ v)
        return output.transpose(1, 2), None

    monkeypatch.setitem(AttentionInterface._global_mapping, "sdpa", by_definition)
    torch.testing.assert_close(ours, logits(hf, ids), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("spec", KINDS)
def test_cached_decoding_equals_prefill(spec: str, tiny_hf: LlamaForCausalLM) -> None:
    with ssmax_eval.rewritten(tiny_hf, spec), torch.no_grad():
        whole = logits(tiny_hf)
        out = tiny_hf(input_ids=IDS[:, :25], use_cache=True)
        pieces = [out.logits]
        for start, stop in ((25, 26), (26, 33), (33, 34), (34, 40)):
            out = tiny_hf(input_ids=IDS[:, start:stop], past_key_values=out.past_key_values, use_cache=True)
            pieces.append(out.logits)
        torch.testing.assert_close(torch.cat(pieces, 1), whole)


@pytest.mark.parametrize("spec", KINDS)
def test_left_padding_changes_nothing(spec: str, tiny_hf: LlamaForCausalLM) -> None:
    ids, pad = IDS[:1], 7
    padded = torch.cat([torch.ones(1, pad, dtype=torch.long), ids], 1)
    mask = (torch.arange(padded.shape[1]) >= pad).long()[None]
    positions = (torch.arange(padded.shape[1]) - pad).clamp(min=0)[None]
    with ssmax_eval.rewritten(tiny_hf, spec):
        together = logits(tiny_hf, padded, attention_mask=mask, position_ids=positions)
        assert bool(together.isfinite().all())
        torch.testing.assert_close(together[:, pad:], logits(tiny_hf, ids))


@pytest.mark.parametrize("spec", ["ssmax", "lssar"])
def test_generation_is_the_argmax_of_prefill(spec: str, tiny_hf: LlamaForCausalLM) -> None:
    with ssmax_eval.rewritten(tiny_hf, spec):
        written = tiny_hf.generate(IDS, max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=1)
        following = logits(tiny_hf, written)[:, 39:-1].argmax(-1)
    assert written[:, 40:].tolist() == following.tolist()


@dataclass(frozen=True)
class Acausal(Attention):
    """Forgets the mask."""

    def weights(self, rows: Rows) -> Tensor:
        return torch.ones_like(rows.scores) / rows.key.shape[2]

    def forward(self, call: Call) -> Tensor:
        groups = call.query.shape[1] // call.value.shape[1]
        return call.value.repeat_interleave(groups, 1).mean(2, keepdim=True).expand(call.query.shape)


def test_an_attention_that_sees_the_future_is_refused(tiny_hf: LlamaForCausalLM) -> None:
    with pytest.raises(UserError, match="see the future"), ssmax_eval.rewritten(tiny_hf, Acausal()):
        pass
    assert tiny_hf.config._attn_implementation == "sdpa"


def test_layers_that_attend_by_themselves_are_refused(tiny_hf: LlamaForCausalLM) -> None:
    attention = tiny_hf.model.layers[1].self_attn
    attention.forward = lambda hidden_states, **_: (hidden_states, None)
    with pytest.raises(UserError, match="only 1 of the 2 attention layers"), ssmax_eval.rewritten(tiny_hf, "ssmax"):
        pass


def test_an_architecture_that_bypasses_the_interface_is_refused() -> None:
    hf = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=2, n_head=2)).eval()
    with pytest.raises(UserError, match="Bloom"), ssmax_eval.rewritten(hf, "ssmax:s=1"):
        pass


def test_something_lost_on_the_way_is_noticed(tiny_hf: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that adds something to its own attention which the rewritten place does not see."""
    eager = modeling_llama.eager_attention_forward

    def sharper(module, query, *rest, **kwargs):  # type: ignore[no-untyped-def]
        return eager(module, 1.5 * query, *rest, **kwargs)

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", sharper)
    with pytest.raises(UserError, match="own logits"), ssmax_eval.rewritten(tiny_hf, "ssmax"):
        pass


def test_an_unknown_argument_of_the_call_is_refused(tiny_hf: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    own = modeling_llama.LlamaAttention.forward

    def with_more(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        return own(self, *args, novelty=0.5, **kwargs)

    monkeypatch.setattr(modeling_llama.LlamaAttention, "forward", with_more)
    with (
        pytest.raises(UserError, match="'novelty', which ssmax-eval does not support"),
        ssmax_eval.rewritten(tiny_hf, "ssmax"),
    ):
        pass


def test_broken_weights_are_refused(tiny_hf: LlamaForCausalLM) -> None:
    tiny_hf.model.layers[0].mlp.up_proj.weight.data[0, 0] = torch.nan
    with pytest.raises(UserError, match="NaN"), ssmax_eval.rewritten(tiny_hf, "softmax"):
        pass


@pytest.mark.parametrize("name", ATTENTIONS)
def test_bfloat16_models_pass_the_canary(name: str, tiny_hf: LlamaForCausalLM) -> None:
    with ssmax_eval.rewritten(tiny_hf.bfloat16(), parse(name)):
        assert bool(logits(tiny_hf).isfinite().all())
