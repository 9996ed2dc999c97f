"""Is one better than the other? Every difference in numbers, and in a sentence."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.report import floors, floors_said, words
from ssmax_eval.report.differences import ALL, all_differences, compared
from ssmax_eval.report.labels import renamed
from ssmax_eval.report.pairs import without_shared
from ssmax_eval.report.quantities import TaskQuantity
from ssmax_eval.report.reading import Results, read
from ssmax_eval.report.series import labelled
from ssmax_eval.report.statistics import FEWEST


def compare(
    results: Results,
    baseline: str | None = None,
    *,
    label: Mapping[str, str] | None = None,
    pool: str | None = None,
) -> pd.DataFrame:
    """Compare every series with the baseline, where both measured the very same thing.

    `results` is a frame of `read_results`, or the paths of runs or folders of runs. `baseline` is an attention such
    as "softmax", a checkpoint, or the full name of a series; by default softmax, or, where there is none, the first
    series of each checkpoint. `label` and `pool` name and pool checkpoints, as `labels.renamed` says.

    Returns one row per pair, quantity and context length (tokens; 0 for all together): `baseline`, `series`,
    `quantity`, `context_length`, `mean` (series minus baseline), `low` and `high` (paired, 95 %), `n` (identical
    trials or documents), `method`, `p` (exact sign test, for shares), `gained`, `lost`, `unmatched`, `units` and `unit`
    (what is independent, and how many), `floor` ("floor" or "ceiling" where a length tells little about a share, and
    is left out of all together; see `floors`) and `sentence`.
    Raises UserError for an unknown baseline, for a single series, and where no two series measured the same quantity.
    """
    try:
        return in_words(renamed(read(results).frame, label, pool), baseline)
    except NothingMeasured as nothing:
        raise UserError(f"nothing to compare: {nothing}") from None


def sentences(frame: pd.DataFrame, baseline: str | None = None) -> list[str]:
    """Say in words what every comparison shows, on what, and what was left out: one sentence a pair and quantity.

    Raises NothingMeasured where no two series measured the same quantity, UserError as `pairs` does.
    """
    return headlines(in_words(frame, baseline, every=False))


def headlines(table: pd.DataFrame) -> list[str]:
    """Return one sentence a pair and quantity from a table with sentences.

    The one about all lengths together; of a prefix quantity, the one about the longest that the two share.
    """
    lines = []
    for _, part in table.groupby(["quantity", "baseline", "series"], sort=False):
        together, shared = part[part["context_length"] == ALL], part[part["n"] > 0]
        row = together.iloc[0] if len(together) else (shared if len(shared) else part).iloc[-1]
        lines.append(str(row["sentence"]))
    return lines


def in_words(frame: pd.DataFrame, baseline: str | None = None, *, every: bool = True) -> pd.DataFrame:
    """Return `all_differences` with a column `sentence` that says each row in words."""
    frame = labelled(frame)
    known = {found.label: found for found in compared(frame, every=every)}
    table = all_differences(frame, baseline, every=every)
    where = {label: floors.levels(frame, found) for label, found in known.items()}
    said = [_with_floors(row, known[str(row["quantity"])], where[str(row["quantity"])]) for _, row in table.iterrows()]
    return table.assign(sentence=said)


def _with_floors(row: pd.Series, found: TaskQuantity, where: pd.DataFrame) -> str:
    """The sentence of a row, and what floors and ceilings have to do with it."""
    return " ".join(filter(None, [sentence(row, found), floors_said.of_row(row, found, where)]))


def sentence(row: pd.Series, found: TaskQuantity) -> str:
    """Say one row of `differences` in words."""
    shared, base, name = without_shared(str(row["baseline"]), str(row["series"]))
    what = words.best(found)
    if row["context_length"]:
        tokens = f"{row['context_length']:,.0f} tokens"
        what += f" over the first {tokens}" if found.quantity.pool == "prefix" else f" at {tokens}"
    what = f"{', '.join(shared)}: {what}" if shared else words.capital(what)
    rest = f" Left out: {_count(row['unmatched'], found)} that failed or are not shared." if row["unmatched"] else ""
    if row["floor"] and row["context_length"] == ALL:
        return f"{what}: inconclusive between {name} and {base}, since no length tells the two apart."
    if not row["n"]:
        why = "; nats per token are compared under one tokenizer only" if "per token" in found.quantity.unit else ""
        return f"{what}: {name} and {base} share no {words.unit(found)}, so they cannot be compared{why}.{rest}"
    on = _count(row["n"], found, "identical")
    units = f"{row['units']:.0f} {row['unit'] if row['units'] == 1 else words.plural(str(row['unit']))}"
    if row["unit"] != words.unit(found):
        on += f" ({units})"
    elif row["units"] != row["n"]:
        on = f"{row['n']:,.0f} identical cells of {units}"
    says = f"{what}: {_amount(row['mean'], found)} with {name} than with {base}, on {on}"
    if pd.isna(row["low"]):
        return (
            f"{says}: inconclusive, since fewer than {FEWEST} {words.plural(str(row['unit']))} give no interval.{rest}"
        )
    low, high = (words.signed(row[limit], found.quantity.digits) for limit in ("low", "high"))
    clear = not row["low"] <= 0 <= row["high"]
    if pd.isna(row["p"]):
        return f"{says} (95 % interval {low} to {high}, {row['method']}): {_verdict(clear)}.{rest}"
    p = f"= {row['p']:.2g}" if row["p"] >= 0.001 else "< 0.001"
    only = f"{row['gained']:.0f} only with {name}, {row['lost']:.0f} only with {base}"
    verdict = _verdict(clear and row["p"] < 0.05)
    return f"{says} (95 % interval {low} to {high}; {only}; exact p {p}): {verdict}.{rest}"


def _amount(mean: float, found: TaskQuantity) -> str:
    """A difference with its unit and direction: "share 0.20 lower", "0.047 nats per token higher"."""
    amount, unit = f"{abs(mean):.{found.quantity.digits}f}", found.quantity.unit
    if unit:
        amount = f"share {amount}" if unit == "share" else f"{amount} {unit}"
    return f"{amount} {'lower' if mean < 0 else 'higher'}"


def _count(number: float, found: TaskQuantity, kind: str = "") -> str:
    """So many trials or documents."""
    unit = words.unit(found).replace("_", " ")
    return " ".join(filter(None, [f"{number:,.0f}", kind, unit if number == 1 else words.plural(unit)]))


def _verdict(clear: bool) -> str:
    return "more than chance explains" if clear else "inconclusive"
