"""The numbers of the figures, against numpy on made-up rows."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import statistics
from study import tables
from study.figures import chosen, loss_by_length
from study.head_figures import needle_by_head
from study.looks import handles, looks, multiple

RNG = np.random.default_rng(5)


def rows(**columns: object) -> pd.DataFrame:
    """Rows of one series, finished."""
    frame = pd.DataFrame({"status": "ok", "error": None, "seed": 0, **columns})
    return frame.assign(series=pd.Categorical(["softmax"] * len(frame), ["softmax", "SSMax"]))


def losses(documents: int = 6, length: int = 300) -> pd.DataFrame:
    """A document of each text."""
    nll = RNG.uniform(2, 5, (documents, length - 1))
    return rows(
        source=np.repeat([f"text {number}" for number in range(documents)], length - 1),
        document=np.repeat(range(documents), length - 1),
        position=np.tile(range(1, length), documents),
        nll=nll.ravel(),
    )


def test_loss_by_length_is_the_mean_of_the_first_tokens_of_each_document() -> None:
    frame = losses()
    cut = frame[~((frame["document"] == 3) & (frame["position"] >= 200))]  # one document is shorter
    table = tables.loss_by_length(cut, [128, 256]).set_index("context_length")
    nll = frame["nll"].to_numpy().reshape(6, 299)
    for length, documents in ((128, 6), (256, 5)):
        means = np.delete(nll, 3, axis=0)[:, : length - 1] if documents == 5 else nll[:, : length - 1]
        means = means.mean(axis=1)
        row = table.loc[length]
        assert (row["mean"], row["n"]) == (pytest.approx(means.mean()), documents)
        low, high = stats.t.interval(0.95, documents - 1, means.mean(), means.std(ddof=1) / documents**0.5)
        assert (row["low"], row["high"]) == pytest.approx((float(low), float(high)))


def test_loss_by_position_weighs_every_document_alike() -> None:
    frame = losses()
    cut = frame[~((frame["document"] == 3) & frame["position"].between(100, 290))]  # one document has gaps
    table = tables.loss_by_position(cut, bins=3)
    expected = []
    for first, end in pairwise(statistics.bin_edges(299, 3, "log")):
        inside = cut[cut["position"].between(first, end - 1)]
        expected.append(np.mean([inside.loc[inside["document"] == d, "nll"].mean() for d in range(6)]))
    np.testing.assert_allclose(table["mean"], expected)
    assert (table["n"] == 6).all()


def test_a_trial_that_broke_off_is_no_miss() -> None:
    frame = rows(context_length=128, depth=0.5, trial=range(7), score=[1.0, 0.0, 1.0, 1.0, 0.0, 1.0, np.nan])
    frame = frame.assign(status=[*["ok"] * 6, "failed"])
    (found,) = tables.found_by(frame, ["context_length", "depth"]).to_dict("records")
    assert (found["mean"], found["n"], found["failed"]) == (pytest.approx(2 / 3), 6, 1)
    low, high = statistics.wilson(4, 6)
    assert (found["low"], found["high"]) == pytest.approx((float(low), float(high)))


def test_the_weight_of_a_head_is_read_where_the_answer_begins() -> None:
    frame = rows(
        trial=[0, 1, 2, 3, 4, 0] * 2, head=[0] * 6 + [1] * 6, position=[7, 7, 7, 7, 7, 3] * 2, answer_position=7
    )
    frame = frame.assign(needle_score=[1.0, 1.0, 1.0, 0.75, 0.0, 0.0, 0.2, 0.1, 0.0, 0.45, 0.0, 0.9])
    table = tables.weight_by_head(frame)
    assert list(table["mean"]) == pytest.approx([0.75, 0.15])
    assert (table["low"].min(), table["high"].max()) == (0.0, 1.0)  # Student's limits are wider


def test_what_failed_leaves_nothing_to_draw() -> None:
    frame = losses().assign(task="loss", family="softmax", rope="plain", context_length=300, train_length=128)
    assert len(chosen(frame, "loss")) == len(frame)
    failed = frame.assign(status="failed")
    for draw in (lambda: chosen(failed, "loss"), lambda: loss_by_length(failed), lambda: needle_by_head(failed)):
        with pytest.raises(NothingMeasured):
            draw()
    short = frame[frame["position"] < 50].assign(context_length=50)
    with pytest.raises(NothingMeasured, match="no loss was measured at 128 tokens or more"):
        loss_by_length(short)


def test_a_family_keeps_its_look_where_others_are_left_out() -> None:
    frame = rows(x=[1.0] * 2).assign(series=pd.Categorical(["softmax", "SSMax"], ["softmax", "SSMax"]))
    shown = handles(frame, ["SSMax"], markers=False)
    assert [handle.get_label() for handle in shown] == ["SSMax"]
    assert shown[0].get_color() == looks(frame)["SSMax"]["color"] != looks(frame)["softmax"]["color"]


def test_lengths_as_multiples() -> None:
    assert [multiple(length, 128) for length in (32, 128, 1280, 20_000)] == ["1/4×", "1×", "10×", "156×"]
