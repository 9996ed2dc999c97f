"""The figure of a comparison: differences by context length and depth."""

from __future__ import annotations

import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report import axes, floors, words
from ssmax_eval.report.heatmaps import (
    LITTLE,
    cell_panels,
    draw_cells,
    handles,
    hatch_columns,
    title_cells,
    trained_handles,
    write_cells,
)
from ssmax_eval.report.matching import matched
from ssmax_eval.report.pairs import pairs, without_shared
from ssmax_eval.report.quantities import TaskQuantity, find, present, rows_of
from ssmax_eval.report.series import labelled, series_table


def difference_heatmap(
    frame: pd.DataFrame, baseline: str | None = None, quantity: str | TaskQuantity | None = None
) -> Figure:
    """Draw the difference in a quantity on identical cells by length and depth, one panel per pair of series.

    `frame` is results as from `read_results`; `baseline` as in `pairs`; `quantity` a name such as "score" (default:
    the first that is drawn as a heatmap). Blue where the series is higher than its baseline, red where it is lower,
    on one scale around 0; grey where the two share nothing. Lengths that tell little (see `floors`) are hatched.
    """
    frame = labelled(frame)
    found = find(frame, quantity, "heatmap")
    rows = rows_of(frame, found)
    if not present(rows, ["depth"]):
        raise NothingMeasured(f"{found.label} has no depths")
    couples = pairs(rows, baseline)
    cells = [matched(rows, found, *couple) for couple in couples]
    changes = [(part["value_series"] - part["value_baseline"]).where(part["match"] == "both") for part in cells]
    lengths, depths = sorted(rows["context_length"].unique()), sorted(rows["depth"].unique())
    about = series_table(rows).set_index("series")["train_length"]
    figure, grid, room = cell_panels(len(couples), lengths, depths)
    where = floors.levels(rows, found)
    marks = [floors.marked(where, *couple) for couple in couples]
    reach = 1.0 if found.quantity.pool == "share" else max(float(change.abs().max()) for change in changes)
    scale = Normalize(-(reach or 1.0), reach or 1.0)
    missing = False
    for ax, (base, name), part, change, mine in zip(grid, couples, cells, changes, marks, strict=True):
        table = part.assign(change=change).pivot_table(index="depth", columns="context_length", values="change")
        mean = table.reindex(index=depths, columns=lengths).to_numpy("float64")
        mesh = draw_cells(ax, mean, colormaps["RdBu"], scale)
        digits = found.quantity.digits
        write_cells(ax, mesh, mean, [[words.signed(value, digits) if value else "0"] for value in mean.ravel()], room)
        hatch_columns(ax, [lengths.index(length) for length in mine], len(depths))
        shared, *short = without_shared(base, name)
        title_cells(ax, " · ".join([*shared, f"{short[1]} minus {short[0]}"]), about, about[name], lengths, room)
        missing |= bool(pd.isna(mean).any())
    unit = found.quantity.unit
    label = f"difference in {unit}" if unit else "difference"
    figure.colorbar(mesh, ax=grid, label=label, fraction=0.04, pad=0.02, aspect=20)
    shown = {"no shared trial": missing, LITTLE: any(marks)}
    axes.place_legend(figure, [*trained_handles(about, lengths), *handles(shown)])
    return figure
