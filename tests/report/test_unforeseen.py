"""A task that the report has never heard of is summarised, compared and drawn, with the right numbers."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

import ssmax_eval
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Quantity
from ssmax_eval.report import plots, tables, writing
from ssmax_eval.report.quantities import declared
from ssmax_eval.report.sections import sections
from ssmax_eval.report.summary import terminal
from tests.report import examples

LENGTHS, TRIALS = (256, 1024), 12
SOLVED = Quantity(
    "solved", "riddles solved", "share", "higher", pool="share", units=("trial",), same=("riddle",),
    views=("by_length",), between=(0.0, 1.0), digits=2, section="Riddles", about="A riddle is asked.",
)  # fmt: skip
GAIN = Quantity(
    "gain", "gain", "bits", "lower", units=("trial",), same=("riddle",), views=("sparkline",), section="Riddles"
)
DECLARED = [SOLVED.to_json(), GAIN.to_json()]


def riddles(attention: str = "softmax", rows: int = 1) -> pd.DataFrame:
    """Results of a task of riddles; with several `rows` a cell, its `gain` is measured for each of some steps."""
    rng = np.random.default_rng([len(attention), rows])
    names = ["context_length", "trial", "step"]
    frame = pd.MultiIndex.from_product([LENGTHS, range(TRIALS), range(rows)], names=names).to_frame(index=False)
    cell = frame.groupby(["context_length", "trial"]).ngroup().to_numpy()
    frame["solved"] = (rng.random(cell.max() + 1) < (0.8 if attention == "softmax" else 0.4))[cell]
    frame["gain"] = rng.normal(-3, 2, len(frame)) + (attention != "softmax")
    frame["riddle"] = [f"riddle {trial} of {length}" for length, trial in frame[names[:2]].to_numpy()]
    frame = frame.astype({"solved": "float64"}).assign(status="ok", error=examples.missing(frame), seconds=1.0)
    frame = frame if rows > 1 else frame.drop(columns="step")
    return frame.assign(**examples.run("riddles", attention))


def both(quantities: list[dict[str, Any]] | None, rows: int = 1) -> pd.DataFrame:
    """Riddles under two attentions, one of which has another riddle in one trial."""
    other = riddles("ssmax", rows)
    other.loc[(other["context_length"] == 256) & (other["trial"] == 3), "riddle"] = "another riddle"
    frame = examples.as_stored(pd.concat([riddles(rows=rows), other], ignore_index=True))
    frame.attrs["quantities"] = {"riddles": quantities} if quantities else {}
    return frame


def cells(frame: pd.DataFrame, name: str, attention: str) -> np.ndarray[Any, Any]:
    """Values [lengths, trials], averaged over the rows of a cell, by numpy alone."""
    mine = frame[frame["attention"].astype("str") == attention]
    length, trial, value = (mine[column].to_numpy("float64") for column in ("context_length", "trial", name))
    return np.array([[value[(length == n) & (trial == t)].mean() for t in range(TRIALS)] for n in LENGTHS])


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("quantities", [DECLARED, None], ids=["declared", "undeclared"])
def test_means_by_length_are_over_trials(quantities: list[dict[str, Any]] | None, rows: int) -> None:
    frame = both(quantities, rows)
    table = tables.by_length(frame, "gain")
    for attention in ("softmax", "ssmax"):
        for k, values in enumerate(cells(frame, "gain", attention)):
            row = table[(table["series"] == attention) & (table["context_length"] == LENGTHS[k])].iloc[0]
            expected = stats.t.interval(0.95, TRIALS - 1, values.mean(), values.std(ddof=1) / TRIALS**0.5)
            assert row[["mean", "low", "high"]].tolist() == pytest.approx([values.mean(), *expected])
            assert row[["n", "failed"]].tolist() == [TRIALS, 0]


def as_wide_as_student(found: float) -> tuple[float, float]:
    """Wilson's limits of a share of `TRIALS`, with Student's quantile in the normal one's place."""
    p, q = found / TRIALS, stats.t.ppf(0.975, TRIALS) ** 2 / TRIALS
    centre, half = (p + q / 2) / (1 + q), (p * (1 - p) * q + q**2 / 4) ** 0.5 / (1 + q)
    return centre - half, centre + half


def test_a_share_has_wilsons_interval_whether_it_is_declared_or_true_and_false() -> None:
    frame = both(DECLARED)
    undeclared = both(None)
    undeclared["solved"] = undeclared["solved"] == 1
    for results in (frame, undeclared):
        table = tables.by_length(results, "solved")
        for attention in ("softmax", "ssmax"):
            for k, values in enumerate(cells(frame, "solved", attention)):
                row = table[(table["series"] == attention) & (table["context_length"] == LENGTHS[k])].iloc[0]
                limits = as_wide_as_student(values.sum())
                assert row[["mean", "low", "high"]].tolist() == pytest.approx([values.mean(), *limits])


def test_rows_of_one_trial_are_not_taken_for_trials() -> None:
    """Wilson's interval over the rows would be too narrow: what is measured five times in a trial counts once."""
    table = tables.by_length(both(DECLARED, rows=5), "solved")
    assert (table["n"] == TRIALS).all()
    found = cells(both(DECLARED, rows=5), "solved", "softmax").sum(axis=1)
    limits = [as_wide_as_student(k) for k in found]
    mine = table[table["series"] == "softmax"]
    assert mine["low"].tolist() == pytest.approx([low for low, _ in limits])
    assert mine["high"].tolist() == pytest.approx([high for _, high in limits])


@pytest.mark.parametrize("rows", [1, 5])
def test_differences_are_paired_on_what_is_the_same(rows: int) -> None:
    frame = both(DECLARED, rows)
    table = ssmax_eval.compare(frame, baseline="softmax").set_index(["quantity", "context_length"])
    keep = np.ones((2, TRIALS), bool)
    keep[0, 3] = False
    change = cells(frame, "gain", "ssmax") - cells(frame, "gain", "softmax")
    row = examples.row(table, ("gain", 1024))
    assert row[["mean", "n", "unmatched"]].tolist() == pytest.approx([change[1].mean(), TRIALS, 0])
    assert row["method"] == "paired t-interval"
    assert row["low"] < row["mean"] < row["high"]
    short = examples.row(table, ("gain", 256))
    assert short[["mean", "n", "unmatched"]].tolist() == pytest.approx([change[0][keep[0]].mean(), TRIALS - 1, 1])
    assert table.loc[("gain", 0), "mean"] == pytest.approx(change[keep].mean())
    assert table.loc[("gain", 0), "n"] == 2 * TRIALS - 1
    found = (cells(frame, "solved", "ssmax") - cells(frame, "solved", "softmax"))[keep]
    total = examples.row(table, ("riddles solved", 0))
    gained, lost = (found > 0).sum(), (found < 0).sum()
    assert total[["mean", "n", "gained", "lost"]].tolist() == pytest.approx([found.mean(), found.size, gained, lost])
    assert total["p"] == pytest.approx(stats.binomtest(int(gained), int(gained + lost)).pvalue)
    p, q = (gained + 1) / (found.size + 2), (lost + 1) / (found.size + 2)
    half = stats.norm.ppf(0.975) * ((p + q - (p - q) ** 2) / (found.size + 2)) ** 0.5
    assert total[["low", "high"]].tolist() == pytest.approx([p - q - half, p - q + half])


def test_a_few_trials_have_a_t_interval() -> None:
    frame = both(DECLARED)
    frame = frame[(frame["trial"] < 6) & (frame["trial"] != 3)]
    row = examples.row(ssmax_eval.compare(frame).set_index(["quantity", "context_length"]), ("gain", 256))
    kept = [0, 1, 2, 4, 5]
    change = (cells(both(DECLARED), "gain", "ssmax") - cells(both(DECLARED), "gain", "softmax"))[0][kept]
    expected = stats.ttest_1samp(change, 0).confidence_interval(0.95)
    assert row[["low", "high"]].tolist() == pytest.approx(list(expected))
    assert row["method"] == "paired t-interval"


def test_without_a_declaration_everything_counts_that_has_the_same_coordinates() -> None:
    table = ssmax_eval.compare(both(None)).set_index(["quantity", "context_length"])
    assert table.loc[("gain", 0), "n"] == 2 * TRIALS


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("quantities", [DECLARED, None], ids=["declared", "undeclared"])
def test_it_is_reported_whole(
    quantities: list[dict[str, Any]] | None, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "render", lambda figure, kind: b"a figure")
    written = ssmax_eval.report(both(quantities, rows), tmp_path, baseline="softmax")
    names = {path.name for path in written}
    assert {"report.html", "summary.csv", "riddles-by-length.png", "riddles-gain-by-length.png"} <= names
    assert {"riddles-difference.csv", "model-index.yaml"} <= names
    stored = pd.read_csv(tmp_path / "tables" / "riddles-gain-by-length.csv")
    assert stored["mean"].tolist() == pytest.approx(
        [x for a in ("softmax", "ssmax") for x in cells(both(quantities, rows), "gain", a).mean(axis=1)], rel=1e-4
    )
    page = (tmp_path / "report.md").read_text()
    assert "## Riddles" in page
    assert ("A riddle is asked." in page) == bool(quantities)


def test_a_view_that_the_report_does_not_know_is_by_length_and_in_the_summary() -> None:
    first = sections(both(DECLARED))
    assert [part.heading for part in first] == ["Summary", "Comparison", "Riddles"]
    assert [picture.name for picture in first[2].pictures] == ["riddles-by-length", "riddles-gain-by-length"]
    assert {"summary-riddles", "summary-riddles-gain"} <= {table.name for table in first[0].tables}


def test_figures_take_any_quantity_by_name() -> None:
    figure = plots.by_length(both(DECLARED), "gain")
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_ylabel() == "gain\n(bits)"
    lines = [np.asarray(line.get_ydata(), float) for line in figure.axes[0].lines]
    assert lines[0].tolist() == pytest.approx(list(cells(both(DECLARED), "gain", "softmax").mean(axis=1)))


def test_the_terminal_says_it_too() -> None:
    text = terminal(both(DECLARED))
    assert "Riddles solved (share of trials; 95 % over trials)" in text
    assert "ssmax" in text


def test_tasks_that_measure_the_same_are_drawn_alike_and_others_are_not() -> None:
    same = riddles().assign(**examples.run("hard_riddles"))
    frame = pd.concat([riddles(), same], ignore_index=True)
    frame.attrs["quantities"] = {"riddles": DECLARED, "hard_riddles": DECLARED}
    assert [found.tasks for found in declared(frame)] == [("riddles", "hard_riddles")] * 2
    assert set(tables.by_length(frame, "solved")["series"]) == {"softmax", "softmax · riddles"}
    frame.attrs["quantities"] = {}
    labels = {found.label for found in declared(frame)}
    assert {"gain (riddles)", "gain (hard_riddles)"} <= labels


def test_a_failed_cell_is_counted_apart() -> None:
    frame = both(DECLARED)
    broken = (frame["trial"] == 0) & (frame["context_length"] == 256)
    frame.loc[broken, ["solved", "gain"]] = np.nan
    frame["status"] = np.where(broken, "failed", "ok")
    table = tables.by_length(frame, "gain")
    short = table[table["context_length"] == 256]
    assert short[["n", "failed"]].to_numpy().tolist() == [[TRIALS - 1, 1]] * 2
    compared = ssmax_eval.compare(frame).set_index(["quantity", "context_length"])
    assert compared.loc[("gain", 256), "unmatched"] == 2


def test_the_report_knows_no_task_by_name() -> None:
    for path in Path(writing.__file__).parent.glob("*.py"):
        texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not texts & {"niah", "niah_dense", "key_attention"}, path.name


def test_a_wrong_name_says_what_there_is() -> None:
    with pytest.raises(UserError, match="unknown quantity 'gian'; the tasks riddles measure gain, solved"):
        tables.by_length(both(DECLARED), "gian")
