"""Weights that a model has no place for are named, those that do nothing are passed over, and others are not read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.weights import from_weights, weight_files
from ssmax_eval.errors import UserError
from tests.tiny import config

Weights = dict[str, torch.Tensor]
Change = Callable[[Weights], None]


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def add(folder: Path, weights: Weights, **changes: object) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), **weights}, path, {"format": "pt"})
    reconfigure(folder, **changes)


def reconfigure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


LAYER = "model.layers.{}.{}"
UNUSED: dict[str, tuple[Weights, dict[str, object]]] = {
    "a bias": ({LAYER.format(0, "self_attn.q_proj.bias"): torch.ones(32)}, {}),
    "an mlp bias": ({LAYER.format(1, "mlp.up_proj.bias"): torch.ones(64)}, {}),
    "a norm": ({LAYER.format(0, "post_feedforward_layernorm.weight"): torch.ones(32)}, {}),
    "an adapter": ({LAYER.format(0, "self_attn.q_proj.lora_A.weight"): torch.ones(4, 32)}, {}),
    "something at the top": ({"model.embed_positions.weight": torch.ones(256, 32)}, {}),
    "a mask that is learned": ({LAYER.format(0, "self_attn.bias"): torch.ones(4, 16, 16)}, {}),
}
HARMLESS: dict[str, tuple[Weights, dict[str, object]]] = {
    "rotary tables": ({LAYER.format(0, "self_attn.rotary_emb.inv_freq"): torch.ones(4)}, {}),
    "biases of zeros": ({LAYER.format(0, "self_attn.q_proj.bias"): torch.zeros(32)}, {}),
    "masks": (
        {
            LAYER.format(0, "attention.masked_bias"): torch.tensor(-1e9),
            LAYER.format(0, "attention.bias"): torch.ones(1, 1, 16, 16).tril(),
        },
        {},
    ),
    "a layer ahead": ({LAYER.format(2, "self_attn.q_proj.weight"): torch.ones(4, 4)}, {"num_nextn_predict_layers": 1}),
    "a layer ahead, by its projection": (
        {LAYER.format(2, "eh_proj.weight"): torch.ones(4, 4), LAYER.format(2, "mlp.up_proj.weight"): torch.ones(4)},
        {},
    ),
    "a module ahead": ({"mtp.layers.0.self_attn.q_proj.weight": torch.ones(4, 4)}, {}),
    "a tower": (
        {
            "vision_tower.layers.0.self_attn.q_proj.bias": torch.ones(4),
            "multi_modal_projector.linear.weight": torch.ones(4),
        },
        {},
    ),
    "a head of another task": ({"score.weight": torch.ones(2, 32)}, {}),
}


@pytest.mark.parametrize("case", UNUSED)
def test_weights_without_a_place_are_named(folder: Path, case: str) -> None:
    weights, changes = UNUSED[case]
    add(folder, weights, **changes)
    with pytest.raises(UserError, match=f"does not use: '{next(iter(weights))}'; leaving them out would"):
        Checkpoint(str(folder)).load()


@pytest.mark.parametrize("case", HARMLESS)
def test_weights_that_change_nothing_are_passed_over(folder: Path, case: str) -> None:
    weights, changes = HARMLESS[case]
    add(folder, weights, **changes)
    assert Checkpoint(str(folder)).load().config.num_hidden_layers == 2


def test_a_whole_layer_without_a_place_is_named(folder: Path) -> None:
    reconfigure(folder, num_hidden_layers=1)
    with pytest.raises(UserError, match=r"'model.layers.1.input_layernorm.weight', .* and 6 more; leaving them out"):
        Checkpoint(str(folder)).load()


KINDS = ["bloom", "deepseek_v3", "falcon", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "gpt_oss", "mistral", "mixtral"]
KINDS += ["olmo2", "opt", "phi", "phi3", "qwen2", "qwen3", "qwen3_next", "stablelm", "bert"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_what_transformers_saves_loads_again(tmp_path: Path, kind: str, tied: bool) -> None:
    small = config(kind)
    small.get_text_config(decoder=True).tie_word_embeddings = small.tie_word_embeddings = tied
    hf = AutoModelForCausalLM.from_config(small)
    hf.save_pretrained(tmp_path)
    if tied and "lm_head.weight" in hf.state_dict():  # as older versions saved it
        head, path = hf.state_dict()["lm_head.weight"].clone(), tmp_path / "model.safetensors"
        save_file({**load_file(path), "lm_head.weight": head}, path, {"format": "pt"})
    loaded = Checkpoint(str(tmp_path), train_length=64).load()
    for name, weight in hf.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name]), name


def learned(value: float) -> Weights:
    return {f"model.layers.{layer}.self_attn.ssmax_s": torch.full((4,), value) for layer in range(2)}


def test_only_the_files_that_transformers_loads_are_read(folder: Path) -> None:
    save_file(learned(0.9), folder / "old.safetensors", {"format": "pt"})
    assert weight_files(folder) == [folder / "model.safetensors"]
    assert from_weights(folder, 2, 4) == {}
    add(folder, learned(0.25))
    assert from_weights(folder, 2, 4)["s"] == ((0.25,) * 4,) * 2


def test_an_index_counts_where_there_is_no_single_file(folder: Path) -> None:
    whole, stray = load_file(folder / "model.safetensors"), folder / "model-00003-of-00003.safetensors"
    save_file(learned(0.9), stray, {"format": "pt"})
    index = {
        "metadata": {},
        "weight_map": dict.fromkeys(whole, "a.safetensors") | dict.fromkeys(learned(0), "b.safetensors"),
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert from_weights(folder, 2, 4) == {}, "transformers takes the single file before the index"
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    save_file(learned(0.25), folder / "b.safetensors", {"format": "pt"})
    assert weight_files(folder) == [folder / "a.safetensors", folder / "b.safetensors"]
    assert from_weights(folder, 2, 4)["s"] == ((0.25,) * 4,) * 2
    assert Checkpoint(str(folder)).load()


def test_the_file_that_a_config_names_is_read(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    add(folder, learned(0.9))
    reconfigure(folder, transformers_weights="other.safetensors")
    assert from_weights(folder, 2, 4) == {}
    assert Checkpoint(str(folder)).load()
