"""Tables hold what can be computed by hand from a few rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import statistics, tables
from ssmax_eval.report.quantities import find, measured
from tests.report import examples


def documents(nll: dict[tuple[str, int], list[float]], **others: Any) -> pd.DataFrame:
    """Loss rows from {(source, document): [nll at 1, 2, …]}."""
    parts = [
        pd.DataFrame(
            {
                "source": s,
                "document": d,
                "position": np.arange(1, len(x) + 1),
                "nll": x,
                "context_length": len(x) + 1,
            }
        )
        for (s, d), x in nll.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.assign(status="ok", error=examples.missing(frame), **examples.run("loss", **others))
    frame.attrs["quantities"] = examples.QUANTITIES
    return frame


def test_retrieval_counts_failures_apart() -> None:
    rows = examples.niah(lengths=(512,), depths=(0.0, 0.5), trials=4)
    rows["score"] = [1.0, 0, 1, 1, 0, 0, 0, 1]
    rows = examples.fail(rows, (rows["depth"] == 0) & (rows["trial"] == 1))
    rows = examples.fail(rows, rows["depth"] == 0.5)
    cells = tables.by_depth(rows).set_index("depth")
    assert examples.row(cells, 0)[["mean", "n", "failed"]].tolist() == [1.0, 3, 1]
    assert examples.row(cells, 0)[["low", "high"]].tolist() == pytest.approx(
        [float(x) for x in statistics.wilson(3, 3)]
    )
    assert examples.row(cells, 0.5)[["n", "failed"]].tolist() == [0, 4]
    assert examples.row(cells, 0.5)[["mean", "low", "high"]].isna().all()
    pooled = tables.by_length(rows, "score")
    assert pooled[["mean", "n", "failed"]].values.tolist() == [[1.0, 3, 5]]


def test_loss_by_position_averages_a_document_before_the_documents() -> None:
    offsets = {"a": 1, "b": 5, "c": 3, "d": 2, "e": 4}
    frame = documents({(s, k): [first + x for x in range(4)] for k, (s, first) in enumerate(offsets.items())})
    table = tables.by_position(frame, bins=2, scale="linear")
    assert table["position"].tolist() == [1.5, 3.5] or table["position"].tolist() == [1.0, 3.0]
    assert table["n"].tolist() == [5, 5]
    assert (table["high"] > table["mean"]).all()
    fine = tables.by_position(frame, bins=100)
    assert fine["mean"].tolist() == [3, 4, 5, 6]


def test_prefixes_of_one_text_are_one_document() -> None:
    whole, prefix = documents({("a", 0): [1.0, 3, 5, 7]}), documents({("a", 0): [2.0, 4]})
    table = tables.by_position(pd.concat([whole, prefix]), bins=100)
    assert table["n"].tolist() == [1, 1, 1, 1]
    assert table["mean"].tolist() == [1.5, 3.5, 5, 7]


def test_loss_by_length_is_the_mean_over_the_first_tokens() -> None:
    offsets = {"a": 1, "b": 3, "c": 2, "d": 1, "e": 3}
    frame = documents({(s, k): [first + x for x in range(7)] for k, (s, first) in enumerate(offsets.items())})
    table = tables.by_length(frame, lengths=[2, 4, 8]).set_index("context_length")
    assert table["mean"].to_dict() == {2: 2.0, 4: 3.0, 8: 5.0}
    assert table["perplexity"][8] == pytest.approx(np.exp(5))
    limits = stats.t.interval(0.95, 4, 3, 1 / 5**0.5)
    assert [table["low"][4], table["high"][4]] == pytest.approx([float(x) for x in limits])


def test_each_length_reads_the_shortest_run_that_reaches_it_in_every_series() -> None:
    short, long = documents({("a", 0): [9.0] * 3}), documents({("a", 0): [1.0] * 7})
    other = documents({("a", 0): [2.0] * 7}, rope="base x50")
    table = tables.by_length(pd.concat([short, long, other]), lengths=[2, 4, 8])
    assert table[table["series"] == "softmax"]["mean"].tolist() == [9, 9, 1]
    assert table[table["series"] == "softmax · base x50"]["mean"].tolist() == [2, 2, 2]


def test_a_document_with_a_gap_does_not_count() -> None:
    frame = documents({("a", 0): [1.0, 2, 3], ("b", 1): [1.0, 2, 3]})
    frame = frame[(frame["source"] != "b") | (frame["position"] != 2)]
    assert tables.by_length(frame, lengths=[2, 4])["n"].tolist() == [2, 1]
    with pytest.raises(NothingMeasured, match="no document has 8 measured tokens; the longest has 4"):
        tables.by_length(frame, lengths=[8])


def test_needle_score_is_the_answers_row_alone_and_the_best_head_is_one() -> None:
    frame = examples.key_attention()
    scores = measured(frame, find(frame, "needle_score"))
    assert (scores["position"] == scores["context_length"] - 9).all()
    heads = tables.by_head(frame)
    assert (heads["mean"].diff().dropna() <= 0).all()
    assert examples.row(heads, 0)[["layer", "head"]].tolist() == [5, 1]
    best = examples.best_elsewhere(scores)
    by_length = tables.by_length(frame, "needle_score")
    assert by_length["mean"].tolist() == pytest.approx(best.groupby("context_length")["needle_score"].mean().tolist())
    assert (by_length["n"] == 6).all()


def test_attention_by_position_is_over_cells_not_heads() -> None:
    table = tables.by_position(examples.key_attention(lengths=(64,)), "entropy")
    assert (table["n"] == 6).all()
    layered = tables.by_position(examples.key_attention(lengths=(64,)), "entropy", by=["layer"])
    assert layered["layer"].nunique() == 6


def test_the_answering_row_is_no_part_of_fading() -> None:
    frame = examples.key_attention(lengths=(64,))
    spoilt = frame.assign(entropy=frame["entropy"].mask(frame["position"] == frame["answer_position"], 1e9))
    assert float(tables.by_position(spoilt, "entropy")["mean"].max()) < 100.0


def test_failures_are_listed_with_the_commonest_error() -> None:
    rows = examples.niah()
    assert tables.failures(rows).empty
    rows = examples.fail(rows, rows["context_length"] == 512)
    rows = examples.fail(rows, rows["context_length"] == 1024, "NaN in the logits")
    rows = examples.fail(rows, rows["context_length"] == 2048)
    assert tables.failures(rows).values.tolist() == [["softmax", "niah", 45, "out of memory"]]
