"""The section of a report about a suite: its mean, its effective length, its tasks, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.report import suite_figures, words
from ssmax_eval.report.axes import says_trained
from ssmax_eval.report.content import Picture, Section, Table
from ssmax_eval.report.differences import ALL
from ssmax_eval.report.effective import written
from ssmax_eval.report.floors_said import lengths
from ssmax_eval.report.pairs import without_shared
from ssmax_eval.report.suites import Scored, effective, incomplete, means, suite_differences
from ssmax_eval.report.summary import SUITE_DIGITS, interval, suite_means


def suite_section(of: Scored, frame: pd.DataFrame, baseline: str | None) -> Section:
    """Return the section about a suite; `frame` is labelled, `baseline` as in `pairs.pairs`."""
    name, whole = of.suite.name, means(of)
    text = [_about(of, whole)] if len(whole) else ["No length has every task that was measured, so there is no mean."]
    pictures, shown = [], []
    numbers = [Table(f"{name}-numbers", "Every task as numbers, with 95 % intervals over its trials", of.cells)]
    if len(whole):
        figure = suite_figures.by_ability(of, frame)
        caption = (
            f"{of.suite.title}: mean over tasks by context length, of all tasks and of each ability (number of tasks). "
            f"Band: 95 % interval over {of.over}, for these tasks. Dotted: {of.suite.threshold:.1%}."
        )
        pictures.append(Picture(f"{name}-by-ability", figure, caption + says_trained(figure)))
        shown.append(Table(f"{name}-mean", _caption(of), _readable_means(of, frame), folded=False))
        numbers.append(Table(f"{name}-mean-numbers", "The means as numbers, with the spread over tasks", whole))
    caption = (
        f"{of.suite.title}: every task by context length. Bold: means over the tasks below. "
        "Grey: not measured, or without a mean since a task is missing."
    )
    pictures.append(Picture(f"{name}-tasks", suite_figures.task_map(of), caption))
    shown.append(
        Table(
            f"{name}-tasks",
            "Score of every task (share) [95 % over its trials], by tokens",
            _readable(of),
            folded=False,
        )
    )
    try:
        table = suite_differences(of, frame, baseline)
        text += _sentences(of, table)
        caption = "Mean difference over tasks, series minus baseline, on identical prompts (0 tokens: all together); "
        numbers.append(Table(f"{name}-difference", f"{caption}95 % interval over {of.over}, for these tasks", table))
    except (NothingMeasured, UserError):  # no second series
        pass
    return Section(of.suite.title, [*text, *_left_out(of)], pictures, [*shown, *numbers])


def _about(of: Scored, whole: pd.DataFrame) -> str:
    ends = [whole["spread"].min(), whole["spread"].max(), whole["least"].min(), whole["most"].max()]
    spread, widest, least, most = (f"{end:.{SUITE_DIGITS}f}" for end in ends)
    return (
        f"Mean over {len(of.found)} tasks, each counted alike. Its interval is over {of.over}, for these tasks; it "
        f"does not say what other tasks would give. Within a length, the tasks differ with a standard deviation of "
        f"{spread} to {widest}, and lie between {least} and {most}."
    )


def _caption(of: Scored) -> str:
    return (
        f"Mean over {len(of.found)} tasks (share) [95 % over {of.over}], by tokens, and effective length: the last "
        f"length, counted up from the shortest with a mean, of at least {of.suite.threshold:.1%} (multiple of the "
        "training length)"
    )


def _readable_means(of: Scored, frame: pd.DataFrame) -> pd.DataFrame:
    """A row per series, as in a paper: the effective length, then the mean at each length."""
    table = effective(of, frame)
    columns = ("length", "low", "high", "shortest", "longest", "multiple")
    reach = [written(*row) for row in zip(*(table[name] for name in columns), strict=True)]
    wide = suite_means(of)
    return wide.assign(**{"effective length": wide["series"].map(dict(zip(table["series"], reach, strict=True)))})


def _readable(of: Scored) -> pd.DataFrame:
    """A row per series and task, ability by ability, and a column per length."""
    rows = zip(of.cells["mean"], of.cells["low"], of.cells["high"], strict=True)
    cells = of.cells.assign(
        text=[interval(*row, SUITE_DIGITS) for row in rows],
        series=pd.Categorical(of.cells["series"], list(of.series), ordered=True),
        task=pd.Categorical(of.cells["task"], list(of.found), ordered=True),
    )
    wide = cells.pivot(index=["series", "task", "ability"], columns="context_length", values="text").sort_index()
    wide = wide.fillna("").rename(columns=lambda length: f"{length:,}").rename_axis(columns=None).reset_index()
    return wide.astype({"series": "str", "task": "str"})[["series", "ability", "task", *wide.columns[3:]]]


def _sentences(of: Scored, table: pd.DataFrame) -> list[str]:
    """Say for each pair what the tasks show together."""
    said = []
    for _, row in table[table["context_length"] == ALL].iterrows():
        shared, base, name = without_shared(str(row["baseline"]), str(row["series"]))
        what = f"{', '.join(shared)}: mean of the suite" if shared else "Mean of the suite"
        left = f" Left out, since no length tells the two apart: {row['left_out']}." if row["left_out"] else ""
        if not row["tasks"]:
            said.append(f"{what}: inconclusive between {name} and {base}.{left}")
            continue
        amount = f"{abs(row['mean']):.{SUITE_DIGITS}f} {'lower' if row['mean'] < 0 else 'higher'}"
        says = f"{what}: {amount} with {name} than with {base}, on identical prompts of {row['tasks']:.0f} tasks"
        if pd.isna(row["low"]):
            said.append(f"{says}: inconclusive, since a task has too few trials for an interval.{left}")
            continue
        low, high = (words.signed(row[limit], SUITE_DIGITS) for limit in ("low", "high"))
        verdict = "inconclusive" if row["low"] <= 0 <= row["high"] else "more than chance explains"
        said.append(f"{says} (95 % interval {low} to {high}): {verdict}.{left}")
    return said


def _left_out(of: Scored) -> list[str]:
    """Say what is not in the mean, and what is in it and tells nothing."""
    said = []
    if of.missing:
        said.append(f"Not measured: {words.listed(of.missing)}.")
    if of.others:
        said.append(f"Measured, but no share of which more is better, so not in the mean: {words.listed(of.others)}.")
    lacking: dict[tuple[str, ...], dict[int, None]] = {}
    for (series, length), names in incomplete(of).items():
        lacking.setdefault((series, *names), {})[length] = None
    for (series, *names), where in lacking.items():
        of_series = f" for {series}" if len(of.series) > 1 else ""
        said.append(f"No mean{of_series} at {lengths(where)}: {_were(names)} not measured there.")
    if (failed := int(of.cells["failed"].sum())) > 0:
        names = list(dict.fromkeys(of.cells.loc[of.cells["failed"] > 0, "task"]))
        said.append(f"{failed} cells failed and count neither as right nor as wrong: {words.listed(names)}.")
    if floors := _at_floor(of):
        told = "; ".join(f"{name} at {lengths(where)}" for name, where in floors.items())
        alone = "" if len(of.series) == 1 else " with every series"
        said.append(f"At the floor{alone}: {told}. The mean counts them; they tell nothing about a difference.")
    return said


def _were(names: Sequence[str]) -> str:
    return f"{words.listed(names)} {'was' if len(names) == 1 else 'were'}"


def _at_floor(of: Scored) -> dict[str, list[int]]:
    """The lengths of each task at which every series is at the floor."""
    found: dict[str, list[int]] = {}
    for (task, length), part in of.cells.groupby(["task", "context_length"], sort=False):
        if len(part) == len(of.series) and (part["at"] == "floor").all():
            found.setdefault(str(task), []).append(int(str(length)))
    return {name: sorted(found[name]) for name in of.found if name in found}
