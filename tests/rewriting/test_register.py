"""Drop-in use in anybody's script: names registered in transformers, generation, caches, masks, kernels."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForCausalLM,
    BloomForCausalLM,
    DynamicCache,
    LlamaForCausalLM,
    PreTrainedModel,
    StaticCache,
)

import ssmax_eval
from ssmax_eval.attention import ATTENTIONS
from ssmax_eval.errors import UserError
from ssmax_eval.model import Model
from tests import tiny
from tests.conftest import tiny_config
from tests.rewriting import architectures

IDS = torch.randint(3, 600, (2, 30), generator=torch.Generator().manual_seed(4))


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    functions, masks = dict(AttentionInterface._global_mapping), dict(AttentionMaskInterface._global_mapping)
    ssmax_eval.register()
    yield
    AttentionInterface._global_mapping.clear()
    AttentionInterface._global_mapping.update(functions)
    AttentionMaskInterface._global_mapping.clear()
    AttentionMaskInterface._global_mapping.update(masks)


@torch.no_grad()
def logits(hf: PreTrainedModel, ids: Tensor = IDS, **more: object) -> Tensor:
    output: Tensor = hf(input_ids=ids, **more).logits
    return output


def test_importing_registers_nothing_and_registering_keeps_what_is_there() -> None:
    before = {name: AttentionInterface._global_mapping[name] for name in ("sdpa", "ssmax")}
    ssmax_eval.register()
    assert {name: AttentionInterface._global_mapping[name] for name in before} == before
    assert set(ATTENTIONS) <= set(AttentionInterface._global_mapping)


@pytest.mark.parametrize("name", [*list(ATTENTIONS)[:8], "entmax15", "stick_breaking", "hype"])
def test_from_pretrained_and_set_attn_implementation(name: str, tiny_folder: Path) -> None:
    expected = ssmax_eval.load(str(tiny_folder), name)
    ours = logits(expected.hf)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tiny_folder, attn_implementation=name)), ours)
    changed = AutoModelForCausalLM.from_pretrained(tiny_folder)
    own = logits(changed)
    changed.set_attn_implementation(name)
    assert torch.equal(logits(changed), ours)
    changed.set_attn_implementation("sdpa")
    assert torch.equal(logits(changed), own)


def test_s_is_read_from_the_weights_that_transformers_drops(tiny_folder: Path, tmp_path: Path) -> None:
    hf = AutoModelForCausalLM.from_pretrained(tiny_folder)
    hf.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    s = {f"model.layers.{i}.self_attn.ssmax_s": torch.full((4,), 0.9 + i) for i in range(2)}
    save_file(weights | s, tmp_path / "model.safetensors", {"format": "pt"})
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="ssmax")
    assert torch.equal(logits(plain), logits(ssmax_eval.load(str(tmp_path)).hf))
    assert not torch.allclose(logits(plain), logits(ssmax_eval.load(str(tiny_folder), "ssmax").hf))


def test_a_converted_folder_is_plain_transformers_own(tiny_folder: Path, tmp_path: Path) -> None:
    ssmax_eval.convert(str(tiny_folder), "ssmax:s=0.4,b=0.2", tmp_path / "out")
    hf = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    model = ssmax_eval.load(str(tmp_path / "out"))
    assert hf.config._attn_implementation == "ssmax"
    assert torch.equal(Model(hf, None, model.rewriting, model.shape).token_losses(IDS), model.token_losses(IDS))


def test_without_registering_transformers_refuses_a_converted_folder(tiny_folder: Path, tmp_path: Path) -> None:
    ssmax_eval.convert(str(tiny_folder), "lssar", tmp_path / "out")
    AttentionInterface._global_mapping.pop("lssar")
    with pytest.raises(ValueError, match=r"lssar.*not supported"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("name", ["ssmax", "lssar"])
@pytest.mark.parametrize("options", [{}, {"cache_implementation": "static"}, {"num_beams": 3}, {"use_cache": False}])
def test_generation_is_what_whole_passes_give(name: str, options: dict[str, object], tiny_folder: Path) -> None:
    hf = AutoModelForCausalLM.from_pretrained(tiny_folder, attn_implementation=name)
    output = hf.generate(
        IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=6, min_new_tokens=6, do_sample=False,
        pad_token_id=0, output_scores=True, return_dict_in_generate=True, disable_compile=True, **options,
    )  # fmt: skip
    if "num_beams" in options:
        whole = logits(hf, output.sequences).log_softmax(-1)[:, IDS.shape[1] - 1 : -1]
        chosen = whole.gather(-1, output.sequences[:, IDS.shape[1] :, None])[..., 0].sum(-1)
        torch.testing.assert_close(output.sequences_scores * 6, chosen, rtol=1e-3, atol=1e-3)
    else:
        greedy = logits(hf, output.sequences)[:, IDS.shape[1] - 1 : -1].argmax(-1)
        assert torch.equal(output.sequences[:, IDS.shape[1] :], greedy)


def build(window: int | None = None) -> PreTrainedModel:
    torch.manual_seed(0)
    kind = {"sliding_window": window, "model_type": "mistral"} if window else {}
    config = tiny_config(**kind)
    if not window:
        return LlamaForCausalLM(config).double().eval()
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(**config.to_dict())).double().eval()


@pytest.mark.parametrize("spec", ["ssmax:s=0.4", "lssar:p=3", "temperature:f=4,beta=0.5"])
@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("pieces", [[30], [12, 18], [1] * 30, [11, 1, 1, 9, 1, 7]])
def test_n_is_right_in_prefill_chunks_and_decoding(
    spec: str, window: int | None, cache: str, pieces: list[int]
) -> None:
    hf = build(window)
    with ssmax_eval.rewritten(hf, spec, verify=False):
        whole = logits(hf, use_cache=False)
        store = DynamicCache(config=hf.config) if cache == "dynamic" else StaticCache(hf.config, max_cache_len=40)
        parts = [logits(hf, piece, past_key_values=store) for piece in torch.split(IDS, pieces, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("spec", ["ssmax:s=0.4", "lssar:p=3"])
@pytest.mark.parametrize("window", [None, 7])
def test_n_is_right_with_padding_packing_and_a_mask_of_the_users(spec: str, window: int | None) -> None:
    hf = build(window)
    a, b = IDS[:1, :13], IDS[1:, :17]
    with ssmax_eval.rewritten(hf, spec, verify=False):
        alone_a, alone_b = (logits(hf, x, use_cache=False) for x in (a, b))
        for left in (True, False):
            ids, mask = torch.zeros(2, 17, dtype=torch.long), torch.zeros(2, 17, dtype=torch.long)
            place = slice(4, 17) if left else slice(0, 13)
            ids[0, place], mask[0, place], ids[1], mask[1] = a[0], 1, b[0], 1
            position = (mask.cumsum(-1) - 1).clamp(min=0)
            padded = logits(hf, ids, attention_mask=mask, position_ids=position, use_cache=False)
            torch.testing.assert_close(padded[:1, place], alone_a)
            torch.testing.assert_close(padded[1:], alone_b)
        packed, position = torch.cat((a, b), 1), torch.cat((torch.arange(13), torch.arange(17)))[None]
        output = logits(hf, packed, position_ids=position, use_cache=False)
        torch.testing.assert_close(output, torch.cat((alone_a, alone_b), 1))
        i, j = torch.arange(30)[:, None], torch.arange(30)[None]
        mask = (j <= i) & ((i < 13) == (j < 13)) & (j > i - (window or 99))
        additive = torch.zeros(30, 30, dtype=torch.float64).masked_fill(~mask, torch.finfo(torch.float64).min)
        for four in (mask[None, None], additive[None, None]):
            output = logits(hf, packed, attention_mask=four, position_ids=position, use_cache=False)
            torch.testing.assert_close(output, torch.cat((alone_a, alone_b), 1))


def test_no_mask_is_made_for_the_plain_causal_case() -> None:
    hf = architectures.build("llama")
    with ssmax_eval.rewritten(hf, "lssar"), architectures.recorded(ATTENTIONS["lssar"]) as calls:
        hf(input_ids=architectures.IDS, use_cache=False)
    assert [call.visible.mask for call, _ in calls] == [None] * 4


def test_a_model_that_has_no_place_to_say_so_is_refused_by_rewritten() -> None:
    """register() cannot see an architecture that never calls the interface; rewritten() can, and says so."""
    hf = BloomForCausalLM(tiny.config("bloom"))
    with pytest.raises(UserError, match="past transformers' attention interface"), ssmax_eval.rewritten(hf, "ssmax"):
        pass


@pytest.mark.real
def test_the_real_checkpoint_converted_gives_the_same_losses_bit_by_bit(tmp_path: Path) -> None:
    spec = "ssmax:s=0.13"
    ssmax_eval.convert("smollm2-135m", spec, tmp_path / "out")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    asked = ssmax_eval.load("smollm2-135m", spec)
    ids = torch.randint(0, 49152, (300,), generator=torch.Generator().manual_seed(1))
    assert torch.equal(Model(plain, None, asked.rewriting, asked.shape).token_losses(ids), asked.token_losses(ids))
