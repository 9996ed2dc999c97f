"""A broken checkpoint is one clear line and exit 2."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from ssmax_eval.cli.main import main

Break = Callable[[Path], None]


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def reconfigure(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def no_shard(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder / "model-00001-of-00002.safetensors")
    names = {
        "model.norm.weight": "model-00001-of-00002.safetensors",
        "lm_head.weight": "model-00002-of-00002.safetensors",
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))


def broken_index(folder: Path) -> None:
    shutil.move(folder / "model.safetensors", folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("{")


def wrong_shape(folder: Path) -> None:
    rewrite(folder, lambda w: w.update({"model.norm.weight": torch.ones(31)}))


def missing_weight(folder: Path) -> None:
    rewrite(folder, lambda w: dict.__delitem__(w, "model.layers.1.self_attn.k_proj.weight"))


def nan(folder: Path) -> None:
    rewrite(folder, lambda w: w.update({"model.layers.1.mlp.up_proj.weight": torch.full((64, 32), torch.nan)}))


def no_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def small_vocabulary(folder: Path) -> None:
    def cut(weights: dict[str, torch.Tensor]) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            weights[name] = weights[name][:500].clone()

    rewrite(folder, cut)
    reconfigure(folder, vocab_size=500)


def unknown_type(folder: Path) -> None:
    reconfigure(folder, model_type="megallama")


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama", ')


def nonsense_config(folder: Path) -> None:
    reconfigure(folder, num_attention_heads="many")


def no_length(folder: Path) -> None:
    reconfigure(folder, model_type="mamba", max_position_embeddings=None)


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


CASES: dict[Break, str] = {
    truncated: "is not a whole safetensors file",
    no_shard: "lacks 1 of its 2 shards: model-00002-of-00002.safetensors",
    broken_index: 'must hold a "weight_map" that names the file of each weight; reading it gives',
    wrong_shape: "wrong shape, among them 'model.norm.weight'",
    missing_weight: "lacks 1 of its weights, among them 'model.layers.1.self_attn.k_proj.weight'",
    nan: "NaN or infinite logits",
    no_tokenizer: "no tokenizer",
    small_vocabulary: "has 600 tokens, its model only 500",
    unknown_type: "megallama",
    broken_config: "config of",
    nonsense_config: "num_attention_heads",
    no_length: "mamba",
    pickled: "--allow-pickle",
}


@pytest.mark.parametrize("damage", CASES, ids=lambda damage: damage.__name__)
def test_a_broken_checkpoint_is_one_line_and_exit_2(damage: Break, tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_folder, folder)
    damage(folder)
    arguments = ["run", str(folder), "--task", "loss", "--lengths", "64", "--documents", "1", "-o", str(tmp_path / "o")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, (result.output, result.exception)
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert CASES[damage] in errors[0]
    assert result.stderr.splitlines()[-1] == errors[0]
    assert not list((tmp_path / "o").rglob("cells.jsonl"))
