"""The last table says everything once, and fits the terminal."""

import pandas as pd
import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.report.summary import interval, measures, perplexity, summary, terminal
from tests.report import examples


def test_summary_has_a_row_a_series_and_a_column_a_length() -> None:
    table = summary(examples.everything())
    assert list(table.index) == list(examples.ATTENTIONS)
    assert ("needles found", 512) in table.columns
    assert table.loc["softmax", ("needles found", 512)] == "1.00"
    assert str(table.loc["softmax", ("needles found", 8192)]).endswith("(3 failed)")
    # Fewer than five trials have no interval.
    five = summary(examples.niah(trials=5))
    assert str(five.loc["softmax", ("needles found", 512)]).startswith("1.00 [0.")


def test_measures_are_numbers_with_what_was_run() -> None:
    table = measures(examples.everything())
    assert set(table["measure"]) == {"needles found", "loss", "needle score"}
    assert table[["mean", "low", "high"]].dtypes.eq("float64").all()
    assert (table["train_length"] == 2048).all()


def test_terminal_fits_in_100_columns_and_wraps() -> None:
    text = terminal(examples.everything())
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("tokens") > 3
    long = terminal(examples.niah(attention="package.module:Class" * 6))
    assert "package.module" in long


def test_a_series_without_a_task_has_blanks_not_errors() -> None:
    frame = pd.concat([examples.niah(), examples.loss("lssar:p=15", length=300)])
    table = summary(frame)
    assert table.loc["softmax", ("loss", 128)] == ""
    assert "lssar" not in terminal(frame).split("\n\n")[0]


def test_nothing_measured_is_refused() -> None:
    rows = examples.niah().assign(score=float("nan"), leading_digits=float("nan"), logprob=None, task="niche")
    with pytest.raises(UserError, match="no cell"):
        measures(rows)


def test_interval_in_words() -> None:
    assert interval(0.5, 0.25, 0.75, 2) == "0.50 [0.25, 0.75]"
    assert interval(0.5, float("nan"), float("nan"), 2) == "0.50"
    assert interval(float("nan"), 0, 1, 2) == "–"


def test_perplexity_is_models_by_lengths() -> None:
    frame = pd.concat([examples.loss(length=256).assign(nll=2.0), examples.loss("lssa", length=256).assign(nll=1.0)])
    table = perplexity(frame)
    assert table.columns.tolist() == ["series", "128", "256"]
    assert table.values.tolist() == [["softmax", *["7.39 [7.39, 7.39]"] * 2], ["lssa", *["2.72 [2.72, 2.72]"] * 2]]
