"""Weights and factors that the papers, or their authors' code, give for the same numbers."""

import pytest
import torch

from ssmax_eval.attention import Rows, parse
from ssmax_eval.attention.scaled import scales_query

CHECKS: dict[str, tuple[list[float], list[float]]] = {
    "sparsemax": ([-2, 0, 0.5], [0, 0.25, 0.75]),
    "entmax15": ([-2, 0, 0.5], [0, 0.326007, 0.673993]),
    "alpha_entmax:alpha=1.33": ([-1, 0, 0.5], [0.045982, 0.327632, 0.626386]),
    "alpha_entmax:alpha=1.330": ([1, 2, 3.5], [0.002558, 0.101155, 0.896287]),
    "topk:k=2": ([-2, 0, 0.5], [0, 0.377541, 0.622459]),
    "t_softmax:t=1": ([-2, 0, 0.5], [0, 0.232697, 0.767303]),
    "t_softmax:t=3": ([-2, 0, 0.5], [0.009006, 0.33272, 0.658275]),
    f"r_softmax:r={1 / 3}": ([-2, 0, 0.5], [0, 0.257383, 0.742617]),
    "r_softmax:r=0.5": ([-2, 0, 0.5], [0, 0, 1]),
    "multimax:t0=-1,t1=0.5": ([-2, 0, 0.5], [0.005842, 0.318947, 0.675211]),
    "multimax2:t0=-0.5,t1=0.25,t2=-0.1,t3=0.1,b0=-1,b2=-1": ([-2, 0, 0.5], [0.024842, 0.334469, 0.640689]),
    "softmax_n:n=1": ([-2, 0, 0.5], [0.035765, 0.264267, 0.435702]),
    "sigmoid": ([-2, 0, 0.5], [0.043165, 0.25, 0.354661]),
    "rela": ([-2, 0, 0.5], [0, 0, 0.5]),
    "stick_breaking": ([-2, 0, 0.5, 9], [0.022502, 0.18877, 0.622459, 0]),
    "stick_breaking:rest=true": ([-2, 0, 0.5, 9], [0.022502, 0.18877, 0.622459, 0.166268]),
    "scale_invariant": ([-2, 0, 0.5], [0.026408, 0.325077, 0.648514]),
    "adaptive_temperature": ([-2, 0, 0.5], [0.048611, 0.359188, 0.592201]),
}
"""Scores of a row, and its weights as the papers' own code gives them."""


@pytest.mark.parametrize("spec", CHECKS)
def test_weights_that_others_give(spec: str) -> None:
    z, wanted = CHECKS[spec]
    key = torch.tensor(z, dtype=torch.float64)[None, None, :, None]
    rows = Rows(torch.ones_like(key[:, :, :1]), key, torch.ones(1, 1, 1, len(z), dtype=torch.bool), 1.0)
    torch.testing.assert_close(parse(spec).weights(rows)[0, 0, 0], torch.tensor(wanted).double(), rtol=0, atol=6e-7)


def test_adaptive_temperature_of_a_row_that_is_spread_out() -> None:
    """100 keys whose entropy is 2.51176 nats are sharpened by 2.19825."""
    low, high = 0.0, 20.0
    for _ in range(60):  # the score of one key among 99 of score 0 that gives this entropy
        z = torch.cat((torch.tensor([(low + high) / 2]), torch.zeros(99))).double()
        entropy = float(torch.special.entr(z.softmax(-1)).sum())
        low, high = ((low + high) / 2, high) if entropy > 2.51176 else (low, (low + high) / 2)
    rows = Rows(torch.ones(1, 1, 1, 1).double(), z[None, None, :, None], torch.ones(1, 1, 1, 100).bool(), 1.0)
    weights = parse("adaptive_temperature").weights(rows)[0, 0, 0]
    torch.testing.assert_close(weights, (2.19825 * z).softmax(-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "factor"),
    [("llama4", 1.28332), ("temperature", 1.28332), ("ministral:n_train=16384", 1.20794), ("inkling", 1.00237),
     ("logn:n_train=8192", 1.30769)],
)  # fmt: skip
def test_factors_of_released_models_at_131_072_keys(spec: str, factor: float) -> None:
    attention = parse(spec)
    assert scales_query(attention)
    assert float(attention.factor(torch.tensor(131072.0).double(), 0)) == pytest.approx(factor, abs=5e-6)  # type: ignore[arg-type]
