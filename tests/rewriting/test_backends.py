"""A model loaded with flex or flash attention keeps that kernel under an attention that scales its query."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    StaticCache,
)
from transformers.integrations import flex_attention as flex
from transformers.masking_utils import flash_attention_mask

import ssmax_eval
from ssmax_eval.attention import Attention, Call, Rows, SSMax
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import backends
from tests.conftest import tiny_config

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without", "ignore::DeprecationWarning")
IDS = torch.randint(3, 600, (2, 40), generator=torch.Generator().manual_seed(3))
PADDED = torch.ones_like(IDS)
PADDED[1, :7] = 0
SPECS = ["softmax", "ssmax:s=0.4", "logn:n_train=8", "ssmax:s=0.4,layers=1", "lssar"]


@pytest.fixture(autouse=True)
def _uncompiled() -> Iterator[None]:
    """Compiling flex takes most of a minute on a CPU; `test_compiled` does it."""
    torch.compiler.set_stance("force_eager")
    yield
    torch.compiler.set_stance("default")


def model(kind: str) -> PreTrainedModel:
    torch.manual_seed(0)
    settings = tiny_config().to_dict()
    if kind == "llama":
        return LlamaForCausalLM(tiny_config()).eval()
    if kind == "gemma2":
        softcap = {"attn_logit_softcapping": 2.0, "sliding_window": 6, "head_dim": 8, "layer_types": None}
        return Gemma2ForCausalLM(Gemma2Config(**{**settings, **softcap, "model_type": "gemma2"})).eval()
    return MistralForCausalLM(MistralConfig(**{**settings, "model_type": "mistral", "sliding_window": 6})).eval()


@torch.inference_mode()
def outputs(hf: PreTrainedModel) -> list[Tensor]:
    """Logits of a prefill, of one with left padding, and of the same in three steps with a cache."""
    plain = hf(input_ids=IDS, use_cache=False).logits
    padded = hf(input_ids=IDS, attention_mask=PADDED, use_cache=False).logits[PADDED.bool()]
    cache, steps = None, []
    for start, stop in ((0, 20), (20, 39), (39, 40)):
        done = hf(input_ids=IDS[:, start:stop], attention_mask=PADDED[:, :stop], past_key_values=cache, use_cache=True)
        cache = done.past_key_values
        steps.append(done.logits)
    return [plain, padded, torch.cat(steps, 1)[PADDED.bool()]]


def count_flex(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows with every call of the flex kernel."""
    calls, own = [], flex.compile_friendly_flex_attention

    def counted(*arguments: Any, **others: Any) -> Any:
        calls.append("flex")
        return own(*arguments, **others)

    monkeypatch.setattr(flex, "compile_friendly_flex_attention", counted)
    return calls


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2"])
def test_flex_gives_what_sdpa_gives(kind: str, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if (kind, spec) == ("gemma2", "lssar"):
        return  # LSSAR does not support soft-capping, on any kernel
    hf = model(kind)
    with ssmax_eval.rewritten(hf, spec):
        expected = outputs(hf)
    monkeypatch.setattr(backends, "BLOCK_NUMBERS", 1000)  # several blocks of rows
    calls = count_flex(monkeypatch)
    hf.set_attn_implementation("flex_attention")
    with ssmax_eval.rewritten(hf, spec):
        calls.clear()
        found = outputs(hf)
    assert hf.config._attn_implementation == "flex_attention"
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    softcapped = kind == "gemma2" and spec != "softmax"
    own = 0 if spec == "lssar" else 2 if not softcapped else 1 if "layers" in spec else 0
    assert len(calls) == 5 * own  # forward passes, layers on flex


@pytest.mark.parametrize("spec", ["softmax", "ssmax:s=0.4"])
@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2"])
def test_flex_with_a_static_cache_is_refused_by_name(kind: str, spec: str) -> None:
    hf = model(kind)
    hf.set_attn_implementation("flex_attention")
    with ssmax_eval.rewritten(hf, spec), torch.inference_mode():
        with pytest.raises(UserError, match="flex attention with a static cache"):
            cache = StaticCache(hf.config, max_cache_len=50)
            for ids in IDS.split([3, 1, 36], 1):  # a window that is full is right
                hf(input_ids=ids, past_key_values=cache)
        hf(input_ids=IDS, past_key_values=DynamicCache(config=hf.config))


def test_a_static_cache_is_right_where_flex_is_not_kept() -> None:
    hf = model("llama")
    hf.set_attn_implementation("flex_attention")
    with ssmax_eval.rewritten(hf, "lssa"), torch.inference_mode():
        dynamic, static = (
            hf(input_ids=IDS, past_key_values=cache).logits
            for cache in (DynamicCache(config=hf.config), StaticCache(hf.config, max_cache_len=50))
        )
    torch.testing.assert_close(static, dynamic)


def test_what_a_row_sees_in_a_window_is_what_it_is_scaled_by(monkeypatch: pytest.MonkeyPatch) -> None:
    hf, seen = model("mistral"), {}

    def probe(attention: Attention, call: Call) -> None:
        rows = torch.tensor([0, 8, 39])
        seen[hf.config._attn_implementation[:10], call.layer] = (
            call.visible.counts(call.query.device)[..., 0],
            call.visible.at(rows),
            attention.weights(call.at(rows)),
        )

    for implementation in ("sdpa", "flex_attention"):
        hf.set_attn_implementation(implementation)
        with ssmax_eval.rewritten(hf, "ssmax:s=0.4") as rewriting, torch.inference_mode():
            rewriting.probe = probe
            hf(input_ids=IDS, attention_mask=PADDED, use_cache=False)
            found = dict(seen)
            seen.clear()
        if implementation == "sdpa":
            expected = list(found.values())
    for mine, theirs in zip(found.values(), expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert int(mine[0].max()) == 6


@dataclass(frozen=True)
class Averaging(SSMax):
    """A definition of a user's own, on top of one that a kernel of the model could run."""

    def weights(self, rows: Rows) -> Tensor:
        return (rows.visible / rows.n).expand_as(rows.scores)


def test_a_definition_of_ones_own_is_not_left_to_the_models_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    hf = model("llama")
    with ssmax_eval.rewritten(hf, Averaging(s=0.4)):
        expected = outputs(hf)
    calls = count_flex(monkeypatch)
    hf.set_attn_implementation("flex_attention")
    with ssmax_eval.rewritten(hf, Averaging(s=0.4)):
        calls.clear()
        for mine, theirs in zip(outputs(hf), expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    assert calls == []


def test_a_model_that_is_rewritten_already_is_scaled_once() -> None:
    hf = model("llama")
    hf.set_attn_implementation("flex_attention")
    with torch.inference_mode(), ssmax_eval.rewritten(hf, "ssmax:s=0.4"):
        outer = hf(input_ids=IDS).logits
        with ssmax_eval.rewritten(hf, "ssmax:s=0.4"):
            torch.testing.assert_close(hf(input_ids=IDS).logits, outer)
        torch.testing.assert_close(hf(input_ids=IDS).logits, outer)
    assert hf.config._attn_implementation == "flex_attention"


def test_a_mask_of_four_dimensions_keeps_working() -> None:
    hf = model("llama")
    mask = (torch.arange(40) <= torch.arange(40)[:, None])[None, None].expand(2, 1, 40, 40)
    hf.set_attn_implementation("flex_attention")
    with ssmax_eval.rewritten(hf, "ssmax:s=0.4"), torch.inference_mode():
        one, other = hf(input_ids=IDS, attention_mask=mask).logits, hf(input_ids=IDS).logits
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)  # float32, and two kernels


def fake_flash(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """What flash computes, on the tokens of each sequence without its padding."""
    assert module.config._attn_implementation == "fake_flash"
    batch, _, rows, _ = query.shape
    keys = key.shape[2]
    output = torch.zeros(batch, rows, query.shape[1], value.shape[-1])
    for b in range(batch):
        real = torch.ones(keys, dtype=torch.bool) if attention_mask is None else attention_mask[b].bool()
        asking = real[keys - rows :]
        q, k, v = query[b, :, asking], key[b, :, real], value[b, :, real]
        k, v = (x.repeat_interleave(len(q) // len(x), 0) for x in (k, v))
        apart = torch.arange(q.shape[1])[:, None] + k.shape[1] - q.shape[1] - torch.arange(k.shape[1])
        hidden = (apart < 0) | (apart >= (sliding_window or keys))
        z = (scaling * q @ k.transpose(-1, -2)).masked_fill(hidden, -torch.inf)
        output[b, asking] = (z.softmax(-1) @ v).transpose(0, 1)
    return output, None


@pytest.fixture
def flash() -> Iterator[str]:
    AttentionInterface.register("fake_flash", fake_flash)
    AttentionMaskInterface.register("fake_flash", flash_attention_mask)
    yield "fake_flash"
    AttentionInterface._global_mapping.pop("fake_flash")
    AttentionMaskInterface._global_mapping.pop("fake_flash")


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_flash_is_handed_what_gives_what_sdpa_gives(kind: str, spec: str, flash: str) -> None:
    hf = model(kind)
    with ssmax_eval.rewritten(hf, spec):
        expected = outputs(hf)
    hf.config._attn_implementation_internal = flash
    with ssmax_eval.rewritten(hf, spec):
        found = outputs(hf)
    assert hf.config._attn_implementation == flash
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_packed_sequences_are_refused_on_flash(flash: str) -> None:
    hf = model("llama")
    hf.config._attn_implementation_internal = flash
    packed = torch.cat((torch.arange(20), torch.arange(20)))[None]
    with ssmax_eval.rewritten(hf, "ssmax:s=0.4"), pytest.raises(UserError, match="packs several sequences"):
        hf(input_ids=IDS[:1], position_ids=packed, use_cache=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="flash may be installed there")
def test_flash_that_is_not_installed_is_named() -> None:
    with pytest.raises((ImportError, ValueError), match=r"(?i)flash"):
        model("llama").set_attn_implementation("flash_attention_2")


@pytest.mark.slow
def test_compiled() -> None:
    torch.compiler.set_stance("default")
    hf = model("mistral")
    with ssmax_eval.rewritten(hf, "ssmax:s=0.4"), torch.inference_mode():
        expected = hf(input_ids=IDS, attention_mask=PADDED, use_cache=False).logits[PADDED.bool()]
    hf.set_attn_implementation("flex_attention")
    with ssmax_eval.rewritten(hf, "ssmax:s=0.4"), torch.inference_mode():
        found = hf(input_ids=IDS, attention_mask=PADDED, use_cache=False).logits[PADDED.bool()]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
