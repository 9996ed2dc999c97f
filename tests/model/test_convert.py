"""A converted checkpoint is whole, or not there: half of one would run as softmax without a word."""

from importlib import import_module
from pathlib import Path

import pytest

import ssmax_eval


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
