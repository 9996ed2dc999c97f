"""A suite in a report: the mean over tasks, its interval, the effective length, and what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.measurement import Quantity
from ssmax_eval.report import suite_figures
from ssmax_eval.report.content import Section
from ssmax_eval.report.labels import renamed
from ssmax_eval.report.sections import sections
from ssmax_eval.report.series import labelled
from ssmax_eval.report.suite_section import suite_section
from ssmax_eval.report.suites import (
    effective,
    incomplete,
    known,
    means,
    scored,
    scored_suites,
    squared_and_added,
    suite_differences,
)
from ssmax_eval.report.summary import terminal
from ssmax_eval.report.writing import render
from ssmax_eval.suites import Member, Suite
from tests.report import examples

SOFTMAX, SSMAX = examples.ATTENTIONS
SUITE = Suite(
    "mine",
    "My suite",
    {"finding": tuple(Member(name, name) for name in ("one", "two")), "counting": (Member("three", "three"),)},
    threshold=0.5,
)
LOSS = Quantity("nll", "loss", "nats per token", "lower", views=())


def measured(
    found: dict[str, list[float]],
    attention: str = SOFTMAX,
    *,
    trials: int = 20,
    checkpoint: str = "small",
    quantities: dict[str, Quantity] | None = None,
) -> pd.DataFrame:
    """Tasks that got these shares of the trials right at 512, 1 024, ... tokens; NaN: not measured there."""
    parts, declared = [], {}
    for task, shares in found.items():
        own = Quantity(
            "score", f"answers right ({task})", "share", "higher", pool="share", between=(0.0, 1.0), digits=2
        )
        declared[task] = [(quantities or {}).get(task, own).to_json()]
        for place, share in enumerate(shares):
            if np.isnan(share):
                continue
            rows = pd.DataFrame({"trial": range(trials), "score": (np.arange(trials) < round(share * trials)) * 1.0})
            about = examples.run(task, attention, checkpoint, train_length=1024)
            parts.append(
                rows.assign(context_length=512 * 2**place, nll=2.0, status="ok", error=None, seconds=1.0, **about)
            )
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs["quantities"] = declared
    return frame


def both(*frames: pd.DataFrame) -> pd.DataFrame:
    """Results of several series in one frame."""
    frame = pd.concat(frames, ignore_index=True)
    frame.attrs["quantities"] = {name: q for one in frames for name, q in one.attrs["quantities"].items()}
    return frame


def section(frame: pd.DataFrame, suite: Suite = SUITE) -> Section:
    """The section of a report about a suite."""
    frame = labelled(frame)
    return suite_section(scored(frame, suite), frame, None)


def test_the_mean_counts_each_task_alike() -> None:
    of = scored(measured({"one": [1.0, 0.8], "two": [0.5, 0.4], "three": [0.0, 0.3]}), SUITE)
    table = means(of)
    assert table["context_length"].tolist() == [512, 1024]
    assert table["mean"].tolist() == pytest.approx([0.5, 0.5])
    assert table["tasks"].tolist() == [3, 3]
    assert table["spread"].tolist() == pytest.approx([0.5, np.std([0.8, 0.4, 0.3], ddof=1)])
    assert table[["least", "most"]].to_numpy().tolist() == [[0.0, 1.0], [0.3, 0.8]]
    assert means(of, of.abilities["finding"])["mean"].tolist() == pytest.approx([0.75, 0.6])


def test_the_interval_of_the_mean_covers_it() -> None:
    rng, covered, shares = np.random.default_rng(0), [], np.array([0.02, 0.3, 0.5, 0.8, 0.95])
    for _ in range(400):
        counts = rng.binomial(20, shares)
        frame = pd.DataFrame({"k": counts / 20}).assign(mean=counts / 20)
        low, high = wilson(counts, 20)
        _, below, above = squared_and_added(frame.assign(low=low, high=high))
        covered.append(below <= shares.mean() <= above)
    assert 0.93 < np.mean(covered) < 0.99


def wilson(found: np.ndarray, trials: int) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's limits, as a textbook writes them."""
    p, z = found / trials, 1.959964
    middle = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    return middle - half, middle + half


def test_the_interval_is_that_of_a_sum_of_independent_means() -> None:
    parts = pd.DataFrame({"mean": [0.5, 0.7], "low": [0.2, 0.6], "high": [0.9, 0.8]})
    mean, low, high = squared_and_added(parts)
    assert (mean, low, high) == pytest.approx((0.6, 0.6 - np.hypot(0.3, 0.1) / 2, 0.6 + np.hypot(0.4, 0.1) / 2))
    assert np.isnan(squared_and_added(parts.assign(low=[np.nan, 0.6]))[1])


def test_few_trials_give_a_mean_without_an_interval() -> None:
    table = means(scored(measured({"one": [1.0], "two": [0.5], "three": [0.5]}, trials=4), SUITE))
    assert table["mean"].tolist() == pytest.approx([2 / 3])
    assert table[["low", "high"]].isna().all(axis=None)


def test_the_mean_of_pooled_seeds_has_an_interval_over_the_seeds() -> None:
    levels = [0.2, 0.4, 0.5, 0.6, 0.8]
    parts = [measured({"one": [x], "two": [x]}, checkpoint=f"net-seed{n}") for n, x in enumerate(levels)]
    of = scored(renamed(both(*parts), pool="seed"), SUITE)
    (row,) = means(of).to_dict("records")
    half = 2.7764 * np.std(levels, ddof=1) / np.sqrt(5)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=1e-4)


def test_only_lengths_with_every_task_have_a_mean() -> None:
    frame = both(
        measured({"one": [1.0, 0.8, 0.5], "two": [0.5, 0.5, np.nan]}),
        measured({"one": [1.0, np.nan, np.nan], "two": [0.5, 0.5, np.nan]}, SSMAX),
    )
    of = scored(frame, SUITE)
    assert means(of)[["series", "context_length"]].to_numpy().tolist() == [
        [SOFTMAX, 512],
        [SOFTMAX, 1024],
        [SSMAX, 512],
    ]
    assert incomplete(of) == {
        (SOFTMAX, 2048): ["two"], (SSMAX, 1024): ["one"], (SSMAX, 2048): ["one", "two"],
    }  # fmt: skip
    text = section(frame).text
    assert f"No mean for {SOFTMAX} at 2,048 tokens: two was not measured there." in text
    assert f"No mean for {SSMAX} at 2,048 tokens: one and two were not measured there." in text


def test_the_effective_length_counts_up_to_the_first_mean_below_the_threshold() -> None:
    shares = {"one": [1.0, 0.7, 0.2, 1.0], "two": [1.0, 0.7, 0.2, 1.0], "three": [1.0, 0.7, 0.2, 1.0]}
    frame = labelled(both(measured(shares), measured({name: [0.0] * 4 for name in shares}, SSMAX)))
    table = effective(scored(frame, SUITE), frame).set_index("series")
    assert list(table.loc[SOFTMAX, ["length", "low", "high", "multiple"]]) == [1024, 1024, 1024, 1.0]
    assert table.loc[SSMAX, "length"] == 0
    readable = {one.name: one.data for one in section(frame).tables}["mine-mean"].set_index("series")
    assert readable.loc[SOFTMAX, "effective length"] == "1,024 (1×) [1,024, 1,024]"
    assert readable.loc[SSMAX, "effective length"] == "< 512 [< 512, < 512]"


def test_the_difference_leaves_out_tasks_that_tell_nothing() -> None:
    first = measured({"one": [0.5, 0.4], "two": [0.0, 0.0], "three": [1.0, 0.5]})
    second = measured({"one": [0.8, 0.6], "two": [0.0, 0.05], "three": [1.0, 0.6]}, SSMAX)
    frame = labelled(both(first, second))
    table = suite_differences(scored(frame, SUITE), frame).set_index("context_length")
    assert table["mean"].tolist() == pytest.approx([(0.25 + 0.1) / 2, 0.3, (0.2 + 0.1) / 2])
    assert table["tasks"].tolist() == [2, 1, 2]
    assert table["left_out"].tolist() == ["two", "two, three", "two"]
    text = " ".join(section(frame).text)
    assert f"0.17 higher with {SSMAX} than with {SOFTMAX}, on identical prompts of 2 tasks" in text
    assert "Left out, since no length tells the two apart: two." in text
    assert "At the floor with every series: two at 512 and 1,024 tokens." in text


def test_what_was_left_out_is_said() -> None:
    suite = Suite("mine", "My suite", {**SUITE.tasks, "predicting": (Member("loss", "loss"),)})
    frame = measured({"one": [0.5, 0.5], "two": [0.5, 0.5], "loss": [1.0, 1.0]}, quantities={"loss": LOSS})
    frame = examples.fail(frame, (frame["task"] == "two") & (frame["context_length"] == 512) & (frame["trial"] < 3))
    said = section(frame, suite).text
    assert "Not measured: three." in said
    assert "Measured, but no share of which more is better, so not in the mean: loss." in said
    assert "3 cells failed and count neither as right nor as wrong: two." in said
    assert not any("difference" in text for text in said), "one series has nothing to be compared with"


def test_a_suite_of_one_task_has_no_section() -> None:
    with pytest.raises(NothingMeasured):
        scored(measured({"one": [0.5], "other": [0.5]}), SUITE)
    whole = measured({"one": [0.5], "two": [0.5]})
    failed = examples.fail(whole, whole["task"] == "two")
    failed.attrs = whole.attrs
    with pytest.raises(NothingMeasured):
        scored(failed, SUITE)
    assert scored_suites(examples.everything(), known()) == [], "niah and loss alone are no suite"


def test_a_suite_whose_tasks_are_those_of_another_is_left_out() -> None:
    frame = measured({"one": [1.0], "two": [0.5], "three": [0.2]})
    part = Suite("part", "A part", {"finding": SUITE.tasks["finding"]}, threshold=0.5)
    assert [one.suite.name for one in scored_suites(frame, [part, SUITE])] == ["mine"]
    assert [one.suite.name for one in scored_suites(frame, [part])] == ["part"]


def test_the_figures_show_every_task_and_the_means() -> None:
    frame = labelled(both(
        measured({"one": [1.0, 0.8], "two": [0.5, np.nan], "three": [0.2, 0.1]}),
        measured({"one": [1.0, 0.9], "two": [0.6, 0.5], "three": [0.3, 0.1]}, SSMAX),
    ))  # fmt: skip
    of = scored(frame, SUITE)
    curves = suite_figures.by_ability(of, frame)
    assert [ax.get_title(loc="left") for ax in curves.axes] == ["all 3 tasks", "finding (2)", "counting (1)"]
    lines = [(line.get_color(), np.asarray(line.get_ydata())) for line in curves.axes[0].lines]
    drawn = {colour: values.tolist() for colour, values in lines if len(values) == 2}
    assert pytest.approx([0.63333, 0.5], abs=1e-4) in drawn.values()
    figure = suite_figures.task_map(of)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["all tasks", "finding", "one", "two", "counting", "three"]
    first: np.ma.MaskedArray[Any, Any] = np.ma.asarray(figure.axes[0].collections[0].get_array()).reshape(6, 2)
    assert first[:, 0].tolist() == pytest.approx([1.7 / 3, 0.75, 1.0, 0.5, 0.2, 0.2])
    assert np.ma.getmaskarray(first)[:, 1].tolist() == [True, True, False, True, False, False]
    assert "not run" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_report_has_the_section(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("suite: mine\ntitle: My suite\ntasks: {finding: [one, two]}\n")
    summary, mine, *_ = sections(measured({"one": [1.0, 0.8], "two": [0.5, 0.4]}), suites=[str(file)])
    assert mine.heading == "My suite"
    assert [one.name for one in mine.pictures] == ["mine-by-ability", "mine-tasks"]
    assert all(render(one.figure, "png").startswith(b"\x89PNG") for one in mine.pictures)
    assert [one.name for one in mine.tables] == ["mine-mean", "mine-tasks", "mine-numbers", "mine-mean-numbers"]
    assert "summary-one" not in {one.name for one in summary.tables}, "the suite has the tables of its tasks"
    with pytest.raises(UserError, match="unknown suite 'nosuch'"):
        known(["nosuch"])


def test_the_terminal_sums_the_suite_up() -> None:
    frame = both(measured({"one": [1.0, 0.8], "two": [0.5, 0.4]}, SSMAX), measured({"one": [1.0], "two": [0.5]}))
    *_, head, _, first, second = terminal(frame, [SUITE]).splitlines()
    assert head == "My suite: mean over 2 tasks (share; 95 % over trials)"
    assert first.split()[:2] == [SOFTMAX, "0.75"]
    assert second.split()[:2] == [SSMAX, "0.75"]
    assert "My suite" not in terminal(frame)
