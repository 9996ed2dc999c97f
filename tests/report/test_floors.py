"""Lengths at the floor or the ceiling: marked, said, and left out of what is said of all lengths."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle

from ssmax_eval.measurement import Quantity
from ssmax_eval.report import compare, floors, plots, sentences, tables
from ssmax_eval.report.differences import ALL, differences
from ssmax_eval.report.quantities import find
from ssmax_eval.report.sections import sections
from tests.report import examples

SOFTMAX, SSMAX = examples.ATTENTIONS


def shares(*found: tuple[float, ...], trials: int = 20) -> pd.DataFrame:
    """Needles of series that found these shares of the trials at 512, 1 024, ... tokens."""
    lengths = tuple(512 * 2**place for place in range(len(found[0])))
    parts = []
    for attention, own in zip(examples.ATTENTIONS, found, strict=True):
        rows = examples.niah(attention, lengths, depths=(0.5,), trials=trials)
        wanted = rows["context_length"].map({n: round(share * trials) for n, share in zip(lengths, own, strict=True)})
        parts.append(rows.assign(score=(rows["trial"] < wanted).astype(float)))
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs = parts[0].attrs
    return frame


@pytest.mark.parametrize(
    ("baseline", "series", "mark"),
    [
        (0.0, 0.0, "floor"),
        (0.0, 0.05, "floor"),
        (0.05, 0.1, "floor"),  # 2 of 20 may well be a floor
        (0.1, 0.0, "floor"),  # and the same with the two exchanged
        (0.0, 0.6, ""),
        (0.6, 0.0, ""),
        (0.1, 0.1, ""),
        (1.0, 1.0, "ceiling"),
        (0.95, 0.9, "ceiling"),
        (1.0, 0.5, ""),
        (0.0, 1.0, ""),
    ],
)
def test_a_length_is_marked_where_it_cannot_tell_the_two_apart(baseline: float, series: float, mark: str) -> None:
    table = differences(shares((baseline, 0.5), (series, 0.5)), quantity="score").set_index("context_length")
    assert table["floor"].to_dict() == {ALL: "", 512: mark, 1024: ""}
    assert table.loc[ALL, "n"] == (20 if mark else 40)
    kept = [baseline - baseline] if mark else [series - baseline, 0]
    assert table.loc[ALL, "mean"] == pytest.approx(sum(kept) / len(kept))
    assert table.loc[512, "mean"] == pytest.approx(series - baseline), "a marked length keeps its own number"


def test_which_lengths_are_left_out_does_not_depend_on_which_series_is_the_baseline() -> None:
    values = (0.0, 0.05, 0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 1.0)
    first, second = zip(*itertools.combinations(values, 2), strict=True)
    marks = []
    for one, other in ((first, second), (second, first)):
        frame = shares(one, other)
        marks.append(floors.marked(floors.levels(frame, find(frame, "score")), SOFTMAX, SSMAX))
    assert marks[0] == marks[1]
    assert set(marks[0].values()) == {"floor", "ceiling"}


def test_few_trials_show_no_floor() -> None:
    for trials, mark in ((4, ""), (5, ""), (20, "floor")):
        table = differences(shares((0.0,), (0.0,), trials=trials), quantity="score")
        assert table["floor"].tolist() == [mark, mark]


def test_the_sentence_says_what_is_left_out_and_what_a_floor_tells() -> None:
    frame = shares((1.0, 0.8, 0.0, 0.0), (1.0, 0.9, 0.6, 0.05))
    said = sentences(frame)[0]
    assert "on 40 identical trials" in said
    assert "Left out: 4,096 tokens, where both are at the floor." in said
    assert "Left out: 512 tokens, where both are at the ceiling." in said
    assert f"softmax is at its floor at 2,048 tokens, where {SSMAX} reaches 0.60." in said
    by_length = compare(frame).query("quantity == 'needles found'").set_index("context_length")["sentence"]
    assert by_length[1024].endswith("inconclusive.")
    assert f"softmax is at its floor (0.00); {SSMAX} reaches 0.60." in by_length[2048]
    assert by_length[4096].endswith(f"since both are at the floor (0.00 with softmax and 0.05 with {SSMAX}).")
    assert "one is at the floor, and the other is not clear of it" in sentences(shares((0.0, 0.5), (0.1, 0.5)))[0]


def test_where_every_length_is_left_out_nothing_is_claimed() -> None:
    frame = shares((1.0, 0.0), (1.0, 0.0))
    row = differences(frame, quantity="score").set_index("context_length").loc[ALL]
    assert (row["floor"], row["n"]) == ("both", 0)
    assert pd.isna(row["mean"])
    assert "inconclusive" in sentences(frame)[0]
    assert "no length tells the two apart" in sentences(frame)[0]


def test_only_bounded_shares_have_a_floor() -> None:
    assert (differences(pd.concat([examples.loss(), examples.loss(SSMAX)]), quantity="nll")["floor"] == "").all()
    assert not floors.bounded(Quantity("w", "weight", "attention weight", "higher", between=(0.0, 1.0)))
    assert not floors.bounded(Quantity("s", "share", "share", "higher"))
    assert floors.bounded(Quantity("s", "share", "share", "higher", between=(0.0, 1.0)))


def test_where_less_is_better_the_floor_is_the_largest_value() -> None:
    table = pd.DataFrame({"mean": [1.0, 0.0], "low": [0.9, 0.0], "high": [1.0, 0.1]})
    errors = Quantity("errors", "errors", "share", "lower", between=(0.0, 1.0))
    assert floors.standing(table, errors)["at"].tolist() == ["floor", "ceiling"]
    percent = Quantity("score", "score", "share", "higher", between=(0.0, 100.0))
    assert floors.standing(table * 100, percent)["at"].tolist() == ["ceiling", "floor"]


def test_the_figures_mark_floors_and_say_so() -> None:
    frame = shares((1.0, 0.8, 0.0, 0.0), (1.0, 0.9, 0.6, 0.05))
    found = find(frame, "score")
    figure = plots.by_length(frame)
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [np.asarray(line.get_xdata()).tolist() for line in hollow] == [[512, 2048, 4096], [512, 4096]]
    assert floors.says_hollow(tables.by_length(frame, found), found)
    pictures = {one.name: one for part in sections(frame) for one in part.pictures}
    assert "Hollow: at the floor" in pictures["niah-by-length"].caption
    assert "Dotted: lengths at the floor" in pictures["niah-difference"].caption
    patches = pictures["niah-difference"].figure.axes[0].patches
    hatched = [patch for patch in patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert [patch.get_x() + 0.5 for patch in hatched] == [0, 3]


def test_a_report_without_floors_says_nothing_of_them() -> None:
    parts = sections(shares((0.4, 0.8), (0.6, 0.5)))
    said = [one.caption for part in parts for one in part.pictures]
    said += [one.caption for part in parts for one in part.tables]
    assert not any(word in text for text in said for word in ("Hollow", "Dotted", "Floor:"))
    tables_ = {one.name: one.data for part in parts for one in part.tables}
    assert "floor" not in tables_["niah-difference"]
