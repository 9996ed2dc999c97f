"""What decides a checkpoint's numbers is in its identity: all of its content, and whether its own code runs."""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from ssmax_eval.checkpoint import Checkpoint, fingerprint
from ssmax_eval.checkpoint.fingerprint import file_digest, folder_digest
from ssmax_eval.errors import UserError

CODE = """
from transformers import LlamaForCausalLM

class Louder(LlamaForCausalLM):
    pass
"""


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def test_the_digest_is_that_of_size_and_content(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"300000" + content).hexdigest()


def test_a_large_file_is_hashed_whole_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "REMEMBERED", 1000)
    monkeypatch.setenv("SSMAX_EVAL_CACHE", str(tmp_path / "cache"))
    path, content = tmp_path / "file", bytearray(os.urandom(200_000))

    def write() -> str:
        path.write_bytes(content)
        return file_digest(path)

    first = write()
    assert not (tmp_path / "cache").exists(), "too new to be sure"
    monkeypatch.setattr(fingerprint, "RECENT", -10)
    assert file_digest(path) == first
    (entry,) = (tmp_path / "cache/digests").iterdir()
    entry.write_text("f" * 64)
    assert file_digest(path) == "f" * 64
    entry.write_text("damaged")
    assert file_digest(path) == first
    before = path.stat()
    for place in (0, 77_777, 199_999):
        content[place] ^= 1
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert file_digest(path) == hashlib.sha256(b"200000" + content).hexdigest()


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "REMEMBERED", 10)
    monkeypatch.setattr(fingerprint, "RECENT", -10)
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("SSMAX_EVAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"100" + b"x" * 100).hexdigest()


def test_what_is_no_file_does_not_hang(folder: Path) -> None:
    before = folder_digest(folder)
    os.mkfifo(folder / "pipe.json")
    assert folder_digest(folder) == before


def test_code_that_runs_is_in_the_identity(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = Checkpoint(str(folder)).identity()
    assert Checkpoint(str(folder), trust_remote_code=True).identity() == plain, "there is no code"
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForCausalLM": "louder.Louder"}}))
    (folder / "louder.py").write_text(CODE)
    with caplog.at_level(logging.WARNING):
        without = Checkpoint(str(folder)).identity()
    assert "brings Python code of its own, which does not run; --trust-remote-code runs it" in caplog.text
    assert without.keys() == plain.keys()
    caplog.clear()
    trusted = Checkpoint(str(folder), trust_remote_code=True)
    code = trusted.identity()["code"]
    assert trusted.identity() == {**without, "trust_remote_code": True, "code": code}
    assert type(trusted.load()).__name__ == "Louder"
    assert not caplog.text
    (folder / "parts").mkdir()
    (folder / "parts/helper.py").write_text("FACTOR = 2")
    assert Checkpoint(str(folder), trust_remote_code=True).identity()["code"] != code


@pytest.mark.parametrize(
    ("file", "auto_map"),
    [
        ("config.json", {"AutoConfig": "louder.Config", "AutoModelForCausalLM": "org/code--louder.Louder"}),
        ("tokenizer_config.json", {"AutoTokenizer": [None, "org/code--louder.Tokenizer"]}),
    ],
)
def test_code_that_lies_in_another_repository_is_refused(folder: Path, file: str, auto_map: dict[str, object]) -> None:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | {"auto_map": auto_map}))
    Checkpoint(str(folder)).identity()  # without --trust-remote-code it does not run
    with pytest.raises(UserError, match=f"{file} of .* names code in another repository \\('org/code'\\)"):
        Checkpoint(str(folder), trust_remote_code=True).identity()


@pytest.mark.parametrize(
    ("content", "ends"),
    [({"eos_token_id": 7}, [7]), ({"eos_token_id": [9, 7]}, [7, 9]), ({"temperature": 0.5}, []), (None, [2])],
)
def test_the_end_tokens_are_those_that_the_model_stops_at(
    folder: Path, content: dict[str, object] | None, ends: list[int]
) -> None:
    (folder / "generation_config.json").unlink()
    if content is not None:
        (folder / "generation_config.json").write_text(json.dumps(content))
    checkpoint = Checkpoint(str(folder))
    assert checkpoint.end_tokens == ends
    used = checkpoint.load().generation_config.eos_token_id
    assert ends == ([] if used is None else sorted([used] if isinstance(used, int) else used))
