"""Statistics of rows whose weights do not sum to one, and on a model with sinks."""

import pytest
import torch

from ssmax_eval.attention import LSSAR, Softmax
from ssmax_eval.measurement import Cell
from ssmax_eval.model.model import Model
from ssmax_eval.rewriting import rewritten
from ssmax_eval.tasks.key_attention import STATISTICS, KeyAttention, _statistics
from tests.conftest import make_tokenizer
from tests.rewriting import architectures


def statistics(weights: torch.Tensor) -> dict[str, float]:
    """Of one row [T], whose key tokens are the first two."""
    reduced = _statistics([(0, 2)])(weights[None, None, None])
    return {name: float(value) for name, value in zip(STATISTICS, reduced.flatten(), strict=True)}


def test_a_thousand_equal_keys_are_a_thousand_whatever_a_sink_takes() -> None:
    for left in (1.0, 0.1, 1e-3):
        found = statistics(torch.full((1000,), left / 1000, dtype=torch.float64))
        assert found["effective_keys"] == pytest.approx(1000, rel=1e-4)
        assert found["entropy"] == pytest.approx(6.907755, rel=1e-4)
        assert found["sink_weight"] == pytest.approx(1 - left, abs=1e-6)
        assert found["needle_score"] == pytest.approx(2 * left / 1000, rel=1e-5)  # what ran, not what is normalised
        assert found["max_weight"] == found["first_weight"] == pytest.approx(left / 1000, rel=1e-5)


def test_a_row_of_zeros_looks_at_nothing() -> None:
    found = statistics(torch.zeros(50))
    assert (found["effective_keys"], found["entropy"], found["sink_weight"], found["max_weight"]) == (0, 0, 1, 0)


def test_a_row_that_sums_to_one_is_as_it_was() -> None:
    weights = torch.softmax(torch.randn(300, generator=torch.Generator().manual_seed(0)), 0)
    found, entropy = statistics(weights), float(-(weights * weights.log()).sum())
    assert found["entropy"] == pytest.approx(entropy, rel=1e-6)
    assert found["effective_keys"] == pytest.approx(torch.tensor(entropy).exp().item(), rel=1e-5)
    assert found["sink_weight"] < 1e-6


def test_sinks_of_a_model_are_a_column() -> None:
    hf = architectures.build("gpt_oss")
    hf.resize_token_embeddings(600)
    for layer in hf.model.layers:
        layer.self_attn.sinks.data.fill_(12.0)
    task = KeyAttention(lengths=(256,), depths=(0.5,), trials=1)
    with rewritten(hf, Softmax(), shape=architectures.SHAPE) as rewriting:
        model = Model(hf, make_tokenizer(), rewriting, architectures.SHAPE)
        (found,) = task.bind(model)([Cell(256, depth=0.5, trial=0)])
    taken = torch.tensor(found.rows["sink_weight"])
    assert bool((taken > 0.5).all())
    assert bool((torch.tensor(found.rows["effective_keys"]) >= 1).all())
    assert bool((torch.tensor(found.rows["max_weight"]) <= 1 - taken + 1e-5).all())
    names = {quantity.name for quantity in task.quantities}
    assert set(STATISTICS) <= names & set(found.rows)


def test_rows_of_zeros_do_not_fail() -> None:
    """Equal keys: LSSAR finds none above the average."""
    hf = architectures.build("llama")
    hf.resize_token_embeddings(600)
    for layer in hf.model.layers:
        layer.self_attn.k_proj.weight.data.zero_()
    with rewritten(hf, LSSAR(), shape=architectures.SHAPE) as rewriting:
        model = Model(hf, make_tokenizer(), rewriting, architectures.SHAPE)
        task = KeyAttention(lengths=(256,), depths=(0.5,), trials=1)
        (found,) = task.bind(model)(task.cells())
    late = [i for i, position in enumerate(found.rows["position"]) if int(position or 0) > 3]
    assert {found.rows["effective_keys"][i] for i in late} == {0.0}
    assert {found.rows["sink_weight"][i] for i in late} == {1.0}
    assert found.finite()
