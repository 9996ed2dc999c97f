"""The figure and the sentences of a comparison."""

from __future__ import annotations

import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ssmax_eval.errors import UserError
from ssmax_eval.report import axes, compare
from ssmax_eval.report.heatmaps import (
    cell_panels,
    draw_cells,
    handles,
    title_cells,
    trained_handles,
    write_cells,
)
from ssmax_eval.report.series import labelled, of_task, series_table


def difference_heatmap(frame: pd.DataFrame, baseline: str | None = None) -> Figure:
    """Draw the difference in needles found on identical prompts, one panel per pair of `compare.pairs`.

    `frame` is results with rows of task `niah`. Blue where the series finds more than its baseline, red
    where it finds less, on one scale from −1 to 1; grey where no prompt is shared.
    """
    frame = labelled(frame)
    rows = of_task(frame, "niah")
    couples = compare.pairs(rows, baseline)
    trials = [compare.matched_trials(rows, *couple) for couple in couples]
    lengths = sorted(rows["context_length"].unique())
    depths = sorted(rows["depth"].unique())
    about = series_table(rows).set_index("series")["train_length"]
    figure, grid, room = cell_panels(len(couples), lengths, depths)
    missing = False
    for ax, (base, name), part in zip(grid, couples, trials, strict=True):
        change = (part["score_series"] - part["score_baseline"]).where(part["match"] == "both")
        table = part.assign(change=change).pivot_table(index="depth", columns="context_length", values="change")
        mean = table.reindex(index=depths, columns=lengths).to_numpy("float64")
        mesh = draw_cells(ax, mean, colormaps["RdBu"], Normalize(-1, 1))
        write_cells(ax, mesh, mean, [[_signed(value, 2) if value else "0"] for value in mean.ravel()], room)
        shared, *short = compare.told_apart(base, name)
        title_cells(ax, " · ".join([*shared, f"{short[1]} minus {short[0]}"]), about, about[name], lengths, room)
        missing |= bool(pd.isna(mean).any())
    figure.colorbar(mesh, ax=grid, label="difference in share", fraction=0.04, pad=0.02, aspect=20)
    axes.place_legend(figure, [*trained_handles(about, lengths), *handles({"no shared prompt": missing})])
    return figure


def sentences(frame: pd.DataFrame, baseline: str | None = None) -> list[str]:
    """Say in words what every comparison of needles and of loss shows, on what, and what was left out."""
    frame = labelled(frame)
    said = []
    for build, say in ((compare.retrieval_differences, _needles), (compare.loss_differences, _losses)):
        try:
            table = build(frame, baseline)
        except UserError:
            continue
        for (base, name), part in table.groupby(["baseline", "series"], sort=False):
            shared, short_base, short_name = compare.told_apart(str(base), str(name))
            said.append((f"{', '.join(shared)}: " if shared else "") + say(short_name, short_base, part))
    return said


def _needles(name: str, base: str, table: pd.DataFrame) -> str:
    row = table[table["context_length"] == 0].iloc[0]
    rest = _left_out(row["unmatched"], "trials that failed or that only one of the two has")
    if not row["n"]:
        return f"{name} and {base} share no prompt, so their needles cannot be compared.{rest}"
    p = f"= {row['p']:.2g}" if row["p"] >= 0.001 else "< 0.001"
    clear = row["p"] < 0.05 and not row["low"] <= 0 <= row["high"]
    return (
        f"On {row['n']:.0f} identical prompts the share of needles found is {abs(row['mean']):.2f} "
        f"{'lower' if row['mean'] < 0 else 'higher'} with {name} than with {base} "
        f"(95 % interval {_signed(row['low'], 2)} to {_signed(row['high'], 2)}; {row['gained']:.0f} found only by "
        f"{name}, {row['lost']:.0f} only by {base}; exact McNemar p {p}): {_verdict(clear)}.{rest}"
    )


def _losses(name: str, base: str, table: pd.DataFrame) -> str:
    rest = _left_out(table["unmatched"].iloc[-1], "documents that only one of the two has")
    shared = table[table["n"] > 0]
    if shared.empty:
        return f"{name} and {base} share no document, so their losses cannot be compared.{rest}"
    row = shared.iloc[-1]
    says = (
        f"Over the first {row['context_length']:,.0f} tokens the loss of {name} is {abs(row['mean']):.3f} "
        f"nats per token {'lower' if row['mean'] < 0 else 'higher'} than that of {base}"
    )
    if row["n"] < 2:
        return f"{says}, on a single document: no interval, and no claim.{rest}"
    return (
        f"{says} (95 % interval {_signed(row['low'], 3)} to {_signed(row['high'], 3)}, {row['method']} over "
        f"{row['n']:.0f} documents): {_verdict(not row['low'] <= 0 <= row['high'])}.{rest}"
    )


def _signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _verdict(clear: bool) -> str:
    return "more than chance explains" if clear else "these data do not tell the two apart"


def _left_out(count: int, what: str) -> str:
    return f" Left out: {count} {what}." if count else ""
