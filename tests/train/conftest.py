"""Texts and a recipe that train in seconds."""

from pathlib import Path
from pydoc_data.topics import topics

import pytest

from ssmax_eval.train import Recipe


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two texts, and one that cannot even be read."""
    folder = tmp_path_factory.mktemp("texts")
    pages = sorted(topics.values())
    (folder / "one.txt").write_text("\n\n".join(pages[:12]), encoding="utf-8")
    (folder / "two.txt").write_text("\n\n".join(pages[12:20]), encoding="utf-8")
    (folder / "hidden.txt").write_bytes(b"\xff\xfe held out \xff")
    return folder


@pytest.fixture(scope="session")
def recipe(texts: Path) -> Recipe:
    return Recipe(
        layers=2, heads=2, width=32, train_length=96, vocab_size=600, texts=(str(texts),), held_out=("hidden",),
        steps=20, warmup=4, lr=4e-3, log_every=2, save_every=4, threads=1,
        text_sequences=2, needle_sequences=2, table_sequences=1, repeat_sequences=1, needles=3, questions=2,
        edge=0.3, bf16=False,
    )  # fmt: skip
