"""A converted checkpoint is whole, or not there: half of one would run as softmax without a word."""

import json
import shlex
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

import ssmax_eval
from ssmax_eval.attention import SSMax
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError
from ssmax_eval.tasks.trained import words_of
from ssmax_eval.train import load, train
from tests.documents import blocks, parse

IDS = torch.arange(3, 43)


def test_a_conversion_stopped_before_its_last_step_leaves_no_folder(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    seen: list[bool] = []

    def stopped(config: object, folder: Path) -> None:
        seen.append(target.exists())
        assert (folder / "model.safetensors").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module("ssmax_eval.model.convert"), "save_config", stopped)
    with pytest.raises(KeyboardInterrupt):
        ssmax_eval.convert(str(tiny_folder), "ssmax:s=0.4", target)
    assert seen == [False]
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    ssmax_eval.convert(str(tiny_folder), "ssmax:s=0.4", target)
    assert list(tmp_path.iterdir()) == [target]


def losses(folder: object, attention: str = "auto", **loading: Any) -> torch.Tensor:
    return ssmax_eval.load(str(folder), attention, **loading).token_losses(IDS)


def test_what_loading_does_not_read_is_left_behind(tiny_folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_folder, source)
    expected = losses(source, "ssmax:s=0.4")
    for name in ("pytorch_model.bin", "optimizer.pt", "training_args.bin", "stray.safetensors", "trainer_state.json"):
        (source / name).write_bytes(b"not to be read")
    (source / "training.jsonl").write_text("{}\n")
    (source / "README.md").write_text("# trained with softmax\n")
    (source / "LICENSE").write_text("mine\n")
    (source / "step-10").mkdir()
    (source / "stray.safetensors").unlink()
    save_file({"extra": torch.ones(1)}, source / "stray.safetensors")
    ssmax_eval.convert(str(source), "ssmax:s=0.4", tmp_path / "out")
    loaded = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there - {"chat_template.jinja"} == loaded | {"README.md", "LICENSE"}
    assert torch.equal(losses(tmp_path / "out"), expected)


@pytest.mark.parametrize("sharded", [False, True])
def test_what_another_attention_had_learned_is_not_found_again(
    sharded: bool, tiny_folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(tiny_folder, source)
    weights = load_file(source / "model.safetensors")
    s = {f"model.layers.{i}.self_attn.ssmax_s": torch.tensor([0.1, 0.2, 0.3, 0.4]) + i for i in range(2)}
    if sharded:
        (source / "model.safetensors").unlink()
        shards = {"model-00001-of-00002.safetensors": weights, "model-00002-of-00002.safetensors": s}
        for name, tensors in shards.items():
            save_file(tensors, source / name, {"format": "pt"})
        index = {"metadata": {}, "weight_map": {key: name for name, tensors in shards.items() for key in tensors}}
        (source / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        save_file(weights | s, source / "model.safetensors", {"format": "pt"})
    assert isinstance(ssmax_eval.load(str(source)).attention, SSMax)
    ssmax_eval.convert(str(source), "softmax", tmp_path / "softmax")
    assert Checkpoint(str(tmp_path / "softmax")).shape.from_weights == {}
    assert torch.equal(losses(tmp_path / "softmax"), losses(source, "softmax"))
    assert torch.equal(losses(tmp_path / "softmax", "ssmax"), losses(tiny_folder, "ssmax"))
    assert len(list((tmp_path / "softmax").glob("*.safetensors"))) == 1
    assert "| left out of the weights | s," in (tmp_path / "softmax" / "README.md").read_text()
    ssmax_eval.convert(str(source), "ssmax", tmp_path / "same")
    entry = json.loads((tmp_path / "same" / "config.json").read_text())["ssmax_eval"]
    assert entry == {"attention": "ssmax", "s": None, "b": 0.0}
    assert torch.equal(losses(tmp_path / "same"), losses(source))
    ssmax_eval.convert(str(source), "ssmax:s=0.2", tmp_path / "other")
    assert Checkpoint(str(tmp_path / "other")).shape.from_weights == {}
    assert torch.equal(losses(tmp_path / "other"), losses(source, "ssmax:s=0.2"))


def test_the_card_says_what_was_converted_and_how_to_load_it(tiny_folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder), rope="linear:factor=2")
    ssmax_eval.convert(checkpoint, "ssmax:s=0.25,b=0.5", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("# tiny-llama, converted to ssmax:s=0.25,b=0.5\n")
    assert checkpoint.fingerprint in card
    assert "| its parameters | s = 0.25; b = 0.5 |" in card
    assert "| change of RoPE | linear:factor=2 |" in card
    run, command = (block.strip() for block in blocks(tmp_path / "out" / "README.md", "sh"))
    parse(run)
    again = command.replace(str(tmp_path / "out"), str(tmp_path / "again"))
    assert CliRunner().invoke(main, shlex.split(again)[1:], catch_exceptions=False).exit_code == 0
    assert torch.equal(losses(tmp_path / "again"), losses(tmp_path / "out"))
    (python,) = blocks(tmp_path / "out" / "README.md", "python")
    given: dict[str, Any] = {}
    exec(python, given)
    assert given["hf"].config._attn_implementation == "ssmax"
    assert torch.equal(given["model"].token_losses(IDS), losses(tmp_path / "out"))


def test_the_words_of_the_training_stay_and_its_curve_goes(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "checkpoints" / "ssmax-seed0"
    ssmax_eval.convert(str(source), "softmax", tmp_path / "out")
    assert words_of(tmp_path / "out") == words_of(source) != {}
    assert not (tmp_path / "out" / "training.jsonl").exists()
    assert Checkpoint(str(tmp_path / "out")).fingerprint != Checkpoint(str(source)).fingerprint
    with pytest.raises(UserError, match="holds a converted checkpoint"):
        train(load("cpu", {}), tmp_path / "out")


def test_converting_leaves_the_checkpoint_as_it_is(tiny_folder: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint(str(tiny_folder))
    ssmax_eval.convert(checkpoint, "ssmax:s=0.4", tmp_path / "one")
    assert not hasattr(checkpoint.config, "ssmax_eval")
    ssmax_eval.convert(checkpoint, "auto", tmp_path / "two")
    assert losses(tmp_path / "two").equal(losses(tiny_folder, "softmax"))


def test_a_folder_that_cannot_be_written_is_one_line(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot write"):
        ssmax_eval.convert(str(tiny_folder), "ssmax", tmp_path / "file" / "out")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(import_module("ssmax_eval.model.convert"), "save_config", full)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device"):
        ssmax_eval.convert(str(tiny_folder), "ssmax", tmp_path / "out")
    assert not (tmp_path / "out").exists()
