"""Losses and answers of SmolLM2-135M in vLLM are those of transformers. Run with `make test-vllm`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssmax_eval.attention import Attention, Softmax, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import Model, Question, Request, resolve, running
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import Niah
from ssmax_eval.tasks.retrieval import Retrieval

pytest.importorskip("vllm")
pytestmark = pytest.mark.vllm

SPECS = ("softmax", "ssmax:s={table},b={table}", "logn:n_train=64")


@pytest.fixture(scope="module")
def hf(real: Checkpoint, engine: Any) -> Any:
    """The model in transformers, loaded after vLLM has started."""
    return real.load()


@contextmanager
def both(real: Checkpoint, engine: Any, hf: Any, spec: str, table: Path) -> Iterator[tuple[Model, Any]]:
    """The same checkpoint under an attention in transformers and in vLLM."""
    from ssmax_eval.vllm.model import Served

    attention: Attention = resolve(real, parse(spec.format(table=table)))
    engine.use(attention)
    with running(real, hf, attention) as model:
        yield model, Served(engine, attention)


@pytest.mark.parametrize("spec", SPECS)
def test_losses_are_those_of_transformers(real: Any, engine: Any, hf: Any, tables: Path, spec: str) -> None:
    ids = Loss(lengths=(512,), documents=1).cut(real.tokenizer, 512)[0].ids
    with both(real, engine, hf, spec, tables) as (model, served):
        expected, found = model.token_losses(ids), served.token_losses(ids)
        assert float((found - expected).abs().max()) < 1e-3
        assert abs(float(found.double().mean() - expected.double().mean())) < 1e-4
        assert torch.equal(served.token_losses(torch.tensor([ids]), 20)[0], served.token_losses(ids)[-20:])
        mixed = [torch.tensor([ids[start:stop]]) for start, stop in ((0, 40), (7, 300), (100, 101 + 29), (0, 512))]
        asked = [Question(text, 6) for text in mixed]
        for mine, theirs in zip(served.answers(asked), model.answers(asked), strict=True):
            torch.testing.assert_close(mine.logprobs, theirs.logprobs, atol=1e-3, rtol=0)
            assert torch.equal(mine.chosen, theirs.chosen)
    if spec != "softmax":
        engine.use(Softmax())
        assert float((under_softmax(engine).token_losses(ids) - expected).abs().max()) > 0.1


def under_softmax(engine: Any) -> Any:
    from ssmax_eval.vllm.model import Served

    return Served(engine, Softmax())


def test_needles_and_retrieval_are_answered_alike(real: Any, engine: Any, hf: Any, tables: Path) -> None:
    needles = Niah(lengths=(512,), depths=(0.0, 0.5, 1.0), trials=1)
    retrieval = Retrieval(lengths=(512,), depths=(0.0, 1.0), trials=1, max_new_tokens=12)
    with both(real, engine, hf, "ssmax", tables) as (model, served):
        for task in (needles, retrieval):
            cells: Any = task.cells()
            rows = [list(task.bind(one)(cells)) for one in (model, served)]
            for mine, theirs in zip(*rows, strict=True):
                assert mine.error is None
                assert mine.values["answer"] == theirs.values["answer"]
                assert mine.values["score"] == theirs.values["score"]


def test_writing_ends_as_in_transformers(real: Any, engine: Any, hf: Any, tables: Path) -> None:
    start = real.tokenizer("The old man said to his son that", add_special_tokens=False)["input_ids"]
    requests = [
        Request(start, 24),
        Request(start[:4], 24, stop=("the", ".")),
        Request(start, 6, thinking=9, thinking_end=" so"),
    ]
    with both(real, engine, hf, "logn:n_train=8", tables) as (model, served):
        assert list(served.complete(requests)) == list(model.complete(requests))
        assert served.generate(start, 10) == model.generate(start, 10)


def test_what_vllm_cannot_show_or_hold_is_one_line(real: Any, engine: Any) -> None:
    served = under_softmax(engine)
    with pytest.raises(UserError, match="no attention weights"):
        list(served.answers([Question(torch.tensor([[1, 2, 3]]), 1, [2], lambda a: a)]))
    with pytest.raises(UserError, match="do not fit"):
        served.token_losses(torch.ones(engine.longest + 1, dtype=torch.long))
    with pytest.raises(UserError, match="--engine transformers"):
        _ = served.hf


def test_the_canary_passes_and_notices_a_lost_factor(
    real: Any, engine: Any, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ssmax_eval.vllm import canary
    from ssmax_eval.vllm.model import Served

    attention = resolve(real, parse(f"ssmax:s={tables},b={tables}"))
    engine.use(attention)
    assert canary.verify(Served(engine, attention)) == "agrees with transformers"
    engine.use(Softmax())  # as if the parameters had been dropped on the way
    with pytest.raises(UserError, match="does not compute what transformers does under ssmax"):
        canary.verify(Served(engine, attention))
    monkeypatch.setattr(canary, "SMALL", 0)
    engine.use(attention)
    assert canary.verify(Served(engine, attention)) == "differs from softmax as it must"
    lost = replace(attention)
    engine.use(lost)
    monkeypatch.setattr(engine, "use", lambda _: None)
    engine.llm.collective_rpc("ssmax_eval_use", args=({"attention": "softmax"},))
    engine.forget()
    with pytest.raises(UserError, match=r"its factor was lost|does where the factor is 1"):
        canary.verify(Served(engine, attention))


def test_the_numbers_do_not_depend_on_the_cache_of_prefixes(real: Any, engine: Any, tables: Path) -> None:
    from ssmax_eval.vllm.model import Served

    attention = resolve(real, parse(f"ssmax:s={tables}"))
    engine.use(attention)
    served = Served(engine, attention)
    text = Loss(lengths=(700,), documents=1).cut(real.tokenizer, 700)[0].ids
    texts = [Question(torch.tensor([[*text[:600], *text[start : start + 20]]]), 5) for start in (600, 650, 680)]
    cached = list(served.answers(texts))
    for question, mine in zip(texts, cached, strict=True):
        engine.forget()
        (alone,) = served.answers([question])
        torch.testing.assert_close(mine.logprobs, alone.logprobs, atol=1e-3, rtol=0)
