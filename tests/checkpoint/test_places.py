"""Where a checkpoint is found, and what a name that is none of them says."""

import subprocess
import sys
from pathlib import Path

import pytest

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.places import PACKAGED, local_folder
from ssmax_eval.errors import UserError
from ssmax_eval.files import cache_folder


def test_packaged_checkpoints_are_listed_without_torch() -> None:
    code = "import sys; from ssmax_eval.checkpoint import PACKAGED; assert PACKAGED and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_or_the_hub(tiny_folder: Path) -> None:
    assert local_folder(str(tiny_folder)) == tiny_folder
    assert local_folder("org/name") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./absent", f"no checkpoint at './absent'.*or one of: {', '.join(PACKAGED)}"),
        ("absent.gguf", "no such file: 'absent.gguf'"),
        ("org/absent", "^there is no local folder 'org/absent', and the hub does not give it: "),
    ],
)
def test_a_name_that_leads_nowhere(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _ = Checkpoint(name).config


def test_a_folder_without_a_config(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no config\.json"):
        _ = Checkpoint(str(tmp_path)).config


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SSMAX_EVAL_CACHE", raising=False)
    assert cache_folder() == tmp_path / "ssmax-eval"
    monkeypatch.setenv("SSMAX_EVAL_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
