"""A training that goes wrong says so, and leaves nothing that looks finished."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError
from ssmax_eval.train import Recipe, train
from ssmax_eval.train.trainer import LMTrainer


def test_a_loss_that_is_not_finite_stops_the_training(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "wild.yaml"
    fields = {"layers": 2, "heads": 2, "width": 32, "train_length": 96, "vocab_size": 600, "steps": 9, "lr": 1e30}
    fields |= {"warmup": 1, "text_sequences": 2, "needle_sequences": 0, "log_every": 1, "save_every": 3}
    path.write_text(json.dumps(fields))
    command = ["train", str(path), "--text", f"{recipe.texts[0]}/one.txt", "-o", str(tmp_path / "out")]
    for _ in range(2):  # typed again, it fails again
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2
        assert result.stderr.splitlines()[-1].startswith("Error: the training stopped at step ")
        assert "a lower lr" in result.stderr
        record = json.loads((tmp_path / "out" / "training.json").read_text())
        assert record["finished"] is False
        assert record["stopped"] in result.stderr
        assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_weight_that_breaks_in_the_last_step_is_not_kept(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = LMTrainer.go_on

    def broken(self: LMTrainer, progress: Path | None) -> None:
        go_on(self, progress)
        with torch.no_grad():
            self.model.model.norm.weight[3] = float("inf")

    monkeypatch.setattr(LMTrainer, "go_on", broken)
    with pytest.raises(UserError, match=r"stopped at step 2: 'model\.norm\.weight' is not finite"):
        train(replace(recipe, steps=2), tmp_path / "out")
    assert not json.loads((tmp_path / "out" / "training.json").read_text())["finished"]


@pytest.mark.parametrize("inside", ["", "deeper/"])
def test_a_folder_that_cannot_be_written_is_one_line(inside: str, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file"):
        train(recipe, tmp_path / "file" / inside / "out")


def test_a_full_disk_is_one_line(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssmax_eval.train.model.save_config", full)
    with pytest.raises(UserError, match=r"cannot write .*: No space left on device; the same command goes on"):
        train(replace(recipe, steps=2), tmp_path / "out")
    monkeypatch.undo()
    assert train(replace(recipe, steps=2), tmp_path / "out")
