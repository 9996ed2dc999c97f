"""Checkpoints that scale their scores by position: by weights, by fields of a config, or in their own code."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import ssmax_eval
from ssmax_eval.attention import Attention, Shape, Softmax, SSMax, parse
from ssmax_eval.attention.asentmax import ASEntmax
from ssmax_eval.attention.logn import LogN
from ssmax_eval.attention.released import Grok, Hype
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.conventions import declared, scales_itself
from ssmax_eval.checkpoint.weights import from_weights
from ssmax_eval.errors import UserError
from tests import tiny
from tests.conftest import tiny_config

Copy = Callable[..., Path]
S = torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 2)
LAYER = "model.layers.{}.self_attn.{}"


@pytest.fixture
def changed(tiny_folder: Path, tmp_path: Path) -> Copy:
    """Copies the tiny checkpoint (2 layers x 4 heads) with more weights, and other fields in its config."""

    def copy(more: dict[str, torch.Tensor], **fields: object) -> Path:
        folder = Path(shutil.copytree(tiny_folder, tmp_path / "copy"))
        save_file(load_file(folder / "model.safetensors") | more, folder / "model.safetensors", {"format": "pt"})
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        return folder

    return copy


def learned(name: str = "ssmax_s", shape: tuple[int, ...] = (4,)) -> dict[str, torch.Tensor]:
    return {LAYER.format(i, name): torch.arange(1.0, 5.0).view(shape) / 10 for i in range(2)}


@pytest.mark.parametrize("shape", [(4,), (1, 4, 1, 1), (1, 1, 4, 1)])
def test_every_shape_of_released_checkpoints_is_read(shape: tuple[int, ...], changed: Copy) -> None:
    found = from_weights(changed(learned("softmax_scaler", shape)), 2, 4)["s"]
    torch.testing.assert_close(torch.tensor(found), S)


def test_other_parts_of_a_model_are_not_its_attention(changed: Copy) -> None:
    others = {f"{part}.layers.0.self_attn.ssmax_s": torch.full((4,), 9.0) for part in ("mtp", "vision_tower")}
    torch.testing.assert_close(torch.tensor(from_weights(changed(learned() | others), 2, 4)["s"]), S)


def test_a_scale_of_an_indexer_is_refused(changed: Copy) -> None:
    folder = changed({LAYER.format(1, "indexer.ssmax_s"): torch.ones(4)})
    with pytest.raises(UserError, match=r"self_attn.indexer.ssmax_s' .* scales an indexer"):
        _ = Checkpoint(str(folder)).shape


FIELDS: list[tuple[dict[str, Any], Attention]] = [
    ({"use_logn_attn": True, "seq_length": 2048}, LogN(n_train=2048)),
    ({"attn_temperature_len": 1024}, Grok(n_train=1024)),
    ({"attn_logits_scaling": "hype 500"}, Hype(a=500.0)),
    ({"scalable_softmax": True}, SSMax()),
    ({"use_ssmax": True}, SSMax()),
]


@pytest.mark.parametrize(("fields", "attention"), FIELDS, ids=lambda x: next(iter(x)) if isinstance(x, dict) else "")
def test_a_field_that_transformers_does_not_read_is_an_attention(fields: dict[str, Any], attention: Attention) -> None:
    config = tiny_config(**fields)
    assert declared(config) == attention
    assert scales_itself(config) is None, "the class of the model does not know the field"
    assert declared(tiny_config(**dict.fromkeys(fields))) is None


def test_such_a_field_decides_what_auto_runs(changed: Copy) -> None:
    folder = str(changed({}, attn_logits_scaling="hype 500"))
    assert ssmax_eval.load(folder).attention == Hype(a=500.0)
    assert ssmax_eval.load(folder, "softmax").attention == Softmax()
    with pytest.raises(UserError, match="does not run by itself"):
        ssmax_eval.load(folder, "none")


@pytest.mark.parametrize("fields", [{"softmax_scale": 0.1}, {"attn_logits_scaling": "logn 256"}])
def test_a_field_of_unknown_meaning_is_refused(fields: dict[str, Any], changed: Copy) -> None:
    with pytest.raises(UserError, match=f"the config has {next(iter(fields))}=.* does not read"):
        _ = Checkpoint(str(changed({}, **fields))).shape


def test_a_config_that_says_ssmax_needs_the_weights_of_it(changed: Copy) -> None:
    folder = str(changed({}, scalable_softmax=True))
    with pytest.raises(UserError, match="trained with SSMax, but its weights hold no 's'"):
        ssmax_eval.load(folder)
    assert ssmax_eval.load(folder, "ssmax:s=0.2").attention == SSMax(s=0.2, b=0.0)


@pytest.mark.parametrize(
    ("weights", "fields", "message"),
    [
        (learned("ssmax_b"), {}, "weights hold 'b', which scales its attention, and Softmax does not use it"),
        (learned(), {"use_logn_attn": True}, "weights hold 's', which scales its attention, and LogN does not use it"),
        (learned("my_logn"), {}, "does not use: 'model.layers.0.self_attn.my_logn'"),
        (learned("rela_norm.weight"), {}, "trained with ReLA and its norm on the output"),
    ],
)
def test_a_parameter_that_nothing_uses_is_refused(
    weights: dict[str, torch.Tensor], fields: dict[str, Any], message: str, changed: Copy
) -> None:
    with pytest.raises(UserError, match=message):
        ssmax_eval.load(str(changed(weights, **fields)))


def test_what_a_class_leaves_out_in_silence_is_found(changed: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = changed(learned("attn_scale_of_mine"))
    cls = type(AutoModelForCausalLM.from_config(tiny_config()))
    monkeypatch.setattr(cls, "_keys_to_ignore_on_load_unexpected", ["attn_scale"])
    with pytest.raises(UserError, match=r"'model.layers.0.self_attn.attn_scale_of_mine', which seems to scale"):
        Checkpoint(str(folder)).load()


def test_what_an_attention_of_this_package_learned_is_read(changed: Copy) -> None:
    entry = {"attention": "asentmax", "alpha": 1.5, "beta": None, "gamma": None, "delta": 1.0}
    folder = changed(learned("ssmax_beta") | learned("ssmax_gamma"), ssmax_eval=entry)
    loaded = ssmax_eval.load(str(folder)).attention
    assert isinstance(loaded, ASEntmax)
    assert loaded.beta == loaded.gamma == (pytest.approx((0.1, 0.2, 0.3, 0.4)),) * 2


def test_a_second_scaling_is_refused_unless_asked_for() -> None:
    hf = AutoModelForCausalLM.from_config(tiny.config("ministral3")).eval()
    assert scales_itself(hf.config) == "llama_4_scaling_beta"
    for spec in ("logn", "hype", "asentmax", "ministral"):
        with pytest.raises(UserError, match=r"Ministral 3 and Devstral 2.*twice=true"), ssmax_eval.rewritten(hf, spec):
            pass
    with ssmax_eval.rewritten(hf, "logn:twice=true"):
        hf(input_ids=torch.arange(3, 20)[None])


def test_n_as_a_model_was_trained_to_count_it() -> None:
    n = torch.tensor([1.0, 8.0, 9.0])
    counted = SSMax(s=1.0, b=0.0, most=8).factor(n, 0)
    assert counted is not None
    torch.testing.assert_close(counted, n.clamp(max=8).log())
    windows = Shape(4, 4, 64, full=(1, 3))
    assert parse("ssmax:s=1,n_is=position,layers=full").resolve(windows).layers == "full"
    with pytest.raises(UserError, match="n_is=position needs layers without a window"):
        parse("ssmax:s=1,n_is=position").resolve(windows)
    assert "n_is" not in SSMax(s=1.0).parameters(), "runs of before keep their identity"
    assert SSMax(s=1.0, most=8).parameters()["most"] == 8
