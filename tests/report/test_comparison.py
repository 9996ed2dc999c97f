"""Differences rest on identical prompts and documents, and agree with the textbooks."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssmax_eval.errors import UserError
from ssmax_eval.report import statistics
from ssmax_eval.report.comparison import sentences
from ssmax_eval.report.difference_map import difference_heatmap
from ssmax_eval.report.differences import differences
from ssmax_eval.report.matching import matched
from ssmax_eval.report.pairs import pairs
from tests.report import examples

SOFTMAX, SSMAX = examples.ATTENTIONS


def two(first: list[float], second: list[float]) -> pd.DataFrame:
    """Needle trials of two series at one length and depth, with these scores."""
    size = {"lengths": (512,), "depths": (0.5,), "trials": len(first)}
    return pd.concat(
        [examples.niah(SOFTMAX, **size).assign(score=first), examples.niah(SSMAX, **size).assign(score=second)]
    )


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (3, 9), (20, 20), (0, 30)])
def test_mcnemar_is_the_exact_binomial_test(a: int, b: int) -> None:
    expected = stats.binomtest(a, a + b).pvalue if a + b else 1.0
    assert float(statistics.mcnemar(a, b)) == pytest.approx(expected)


def test_paired_interval_covers_the_difference_at_20_trials() -> None:
    rng = np.random.default_rng(0)
    for both, only_a, only_b in [(0.5, 0.1, 0.2), (0.3, 0.2, 0.2), (0.2, 0.05, 0.5)]:
        counts = rng.multinomial(20, [both, only_a, only_b, 1 - both - only_a - only_b], 20_000)
        low, high = statistics.paired_proportions(counts[:, 1], counts[:, 2], 20)
        assert 0.93 < np.mean((low <= only_b - only_a) & (only_b - only_a <= high)) < 0.98


@pytest.mark.parametrize("units", [5, 12])
def test_differences_of_documents_have_scipys_t_interval(units: int) -> None:
    values = np.random.default_rng(2).normal(0.3, 1, units)
    found = statistics.paired_means(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.method == "paired t-interval"
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_retrieval_differences_count_what_only_one_found() -> None:
    row = differences(two([1, 1, 0, 0, 0], [1, 0, 1, 1, 0])).iloc[0]
    assert row[["baseline", "series"]].tolist() == [SOFTMAX, SSMAX]
    assert row[["context_length", "n", "gained", "lost", "unmatched"]].tolist() == [0, 5, 2, 1, 0]
    assert row["mean"] == pytest.approx(0.2)
    assert row["p"] == pytest.approx(stats.binomtest(1, 3).pvalue)


def test_trials_that_do_not_match_are_said() -> None:
    frame = examples.everything()
    niah = frame[frame["task"] == "niah"].copy()
    moved = (niah["attention"] == SOFTMAX) & (niah["context_length"] == 512) & (niah["trial"] == 0)
    niah.loc[moved, "expected"] = "7654321"
    trials = matched(niah, "score", SOFTMAX, SSMAX)
    counts = trials["match"].value_counts().to_dict()
    assert counts == {"both": 63, "different": 5, "failed": 4, "only baseline": 3}
    total = differences(niah, quantity="score").iloc[0]
    assert total[["n", "unmatched"]].tolist() == [63, 12]
    assert "Left out: 12 trials" in sentences(niah)[0]


def test_loss_differences_are_paired_by_document() -> None:
    first, second = examples.loss(), examples.loss(SSMAX)
    second["nll"] = first["nll"].to_numpy() - 0.25 + 0.001 * second["document"]
    extra = examples.loss(documents=6).query("document == 5")
    table = differences(pd.concat([first, second, extra]))
    assert table["mean"].tolist() == pytest.approx([-0.248] * len(table))
    assert (table["n"] == 5).all()
    assert (table["unmatched"] == 1).all()
    assert (table["low"] < table["mean"]).all()
    assert ((table["high"] > table["mean"]) & (table["high"] < -0.245)).all()


def test_sentences_say_which_way_and_whether_chance_explains_it() -> None:
    found = sentences(two([1.0] * 20, [0.0] * 20))[0]
    assert "1.00 lower with ssmax:s=0.12482 than with softmax" in found
    assert "p < 0.001" in found
    assert "more than chance explains" in found
    assert "inconclusive" in sentences(two([1, 0, 0], [0, 1, 1]))[0]
    alone = pd.concat([examples.loss(length=200, documents=1), examples.loss(SSMAX, length=200, documents=1)])
    assert "fewer than 5 documents give no interval" in sentences(alone)[0]


def test_sentences_name_the_checkpoint_once() -> None:
    parts = [examples.niah(a, checkpoint=c, lengths=(512,)) for a in examples.ATTENTIONS for c in ("x", "y")]
    said = sentences(pd.concat(parts))
    assert [text.partition(": ")[0] for text in said] == ["x", "y"]
    assert said[0].count("x ·") == 0


def test_every_checkpoint_is_compared_with_its_own_first_series() -> None:
    frame = pd.concat([examples.niah(a, checkpoint=c) for a in examples.ATTENTIONS for c in ("x", "y")])
    assert pairs(frame) == [(f"{c} · {SOFTMAX}", f"{c} · {SSMAX}") for c in ("x", "y")]
    assert len(pairs(frame, f"y · {SSMAX}")) == 3
    assert pairs(pd.concat([examples.niah(), examples.niah(checkpoint="y")])) == [
        ("smollm2-135m · softmax", "y · softmax")
    ]


def test_a_wrong_baseline_and_a_single_series_are_refused() -> None:
    with pytest.raises(UserError, match="unknown baseline 'softmux'; these results hold softmax, ssmax"):
        pairs(examples.everything(), "softmux")
    with pytest.raises(UserError, match="at least two series"):
        pairs(examples.niah())


def test_difference_heatmap_shows_only_shared_prompts() -> None:
    figure = difference_heatmap(examples.everything())
    ax = figure.axes[0]
    assert ax.collections[0].get_clim() == (-1, 1)
    assert len(ax.texts) == 23
    assert ax.get_title(loc="left") == "ssmax:s=0.12482 minus softmax"
    assert "no shared trial" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_an_attention_is_a_baseline_on_the_same_checkpoint() -> None:
    frame = pd.concat([examples.niah(a, checkpoint=c) for c in ("x", "y") for a in (SSMAX, SOFTMAX, "lssar:p=3")])
    expected = [(f"{c} · {SOFTMAX}", f"{c} · {a}") for c in ("x", "y") for a in (SSMAX, "lssar:p=3")]
    assert pairs(frame, "softmax") == expected
    assert pairs(frame, "lssar") == pairs(frame, "lssar:p=3")
    assert {base for base, _ in pairs(frame, "lssar")} == {"x · lssar:p=3", "y · lssar:p=3"}


def test_an_attention_is_matched_with_the_same_rope() -> None:
    frame = pd.concat([examples.niah(a, rope=r, lengths=(64,)) for r in ("", "base x50") for a in examples.ATTENTIONS])
    assert pairs(frame, "softmax") == [(SOFTMAX, SSMAX), (f"{SOFTMAX} · base x50", f"{SSMAX} · base x50")]


def test_the_only_softmax_is_the_baseline_of_other_checkpoints_and_of_two_none_is_chosen() -> None:
    own = [examples.niah("softmax", checkpoint="plain"), examples.niah("ssmax", checkpoint="trained")]
    assert pairs(pd.concat(own), "softmax") == [("plain · softmax", "trained · ssmax")]
    two = [*own, examples.niah("softmax", checkpoint="other")]
    with pytest.raises(UserError, match="fits several series equally well; give one of plain · softmax, other"):
        pairs(pd.concat(two), "softmax")
    same = pd.concat([examples.niah(checkpoint="x"), examples.niah(checkpoint="y")])
    with pytest.raises(UserError, match="every series is 'softmax'; give one of x · softmax, y · softmax"):
        pairs(same, "softmax")


def test_needle_scores_are_compared_on_the_best_head_of_each() -> None:
    frame = pd.concat([examples.key_attention(a, lengths=(512,), fade=f) for a, f in ((SOFTMAX, 0.7), (SSMAX, 0.2))])
    frame.loc[frame["attention"] == SSMAX, "needle_score"] *= 0.5
    row = differences(frame, quantity="needle_score").set_index("context_length").loc[512]
    at = frame[frame["position"] == frame["answer_position"]]
    best = {a: examples.best_elsewhere(at[at["attention"] == a])["needle_score"].mean() for a in (SOFTMAX, SSMAX)}
    expected = best[SSMAX] - best[SOFTMAX]
    assert row["mean"] == pytest.approx(expected)
    assert row["n"] == 6
    assert "Needle score of the best head:" in sentences(frame)[0]
