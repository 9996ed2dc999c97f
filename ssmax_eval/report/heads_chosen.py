"""Which of the rows that compete, such as heads, stands for all of them."""

from __future__ import annotations

import pandas as pd

from ssmax_eval.report.quantities import TaskQuantity, find, measured, present, units_of


def best_rows(frame: pd.DataFrame, quantity: str | TaskQuantity | None = None) -> pd.DataFrame:
    """Return the rows of a quantity; of rows that compete, those of the best: the head with the best mean elsewhere.

    The head that counts in a trial is the best of the series (of the seed, where seeds are pooled) in all its other
    trials, over all lengths: a head that is best by luck is not rewarded for it. With a single trial the other cells
    choose, and with a single cell that cell itself.
    """
    found = find(frame, quantity, "by_head")
    rows = measured(frame, found)
    heads, name = present(rows, list(found.quantity.best)), found.quantity.name
    if not heads:
        return rows
    own = ["series", *present(rows, ["seed"])]
    cell = [name for name in dict.fromkeys(["context_length", *units_of(rows, found)]) if name not in own]
    trial = [name for name in cell if name not in ("context_length", "depth", "source")]
    parts = []
    for _, mine in rows.groupby(own, observed=True, sort=False):
        fold = trial if trial and len(mine[trial].drop_duplicates()) > 1 else cell
        label = mine.groupby(fold, observed=True, dropna=False, sort=False).ngroup()
        # A cell's mean counts once, however many rows it has.
        values = mine.assign(_fold=label).groupby([*heads, "_fold", *cell], observed=True, dropna=False)[name].mean()
        sums = values.groupby([*heads, "_fold"], observed=True).agg(["sum", "count"])
        total, count = (sums[x].unstack("_fold").fillna(0) for x in ("sum", "count"))
        if total.shape[1] > 1:
            total, count = total.rsub(total.sum(axis=1), axis=0), count.rsub(count.sum(axis=1), axis=0)
        mean = total / count.where(count > 0)
        picked = mean.idxmin() if found.quantity.better == "lower" else mean.idxmax()
        wanted = pd.DataFrame(
            [(fold, *(best if isinstance(best, tuple) else (best,))) for fold, best in picked.items()],
            columns=["_fold", *heads],
        )
        keys = mine.assign(_fold=label).reset_index().merge(wanted, on=["_fold", *heads])["index"]
        parts.append(mine.loc[keys])
    return pd.concat(parts).sort_index()


def ranked(rows: pd.DataFrame, found: TaskQuantity) -> pd.DataFrame:
    """Number rows that compete by their rank within a checkpoint, where seeds are pooled; else return them as they are.

    The last of the columns that tell them apart becomes the rank, from 0, and the others 0.
    """
    heads, name = present(rows, list(found.quantity.best)), found.quantity.name
    if not heads or "seed" not in rows:
        return rows
    own = ["series", "seed"]
    means = rows.groupby([*own, *heads], observed=True)[name].mean().reset_index()
    ascending = found.quantity.better == "lower"
    means["_rank"] = means.groupby(own, observed=True)[name].rank(method="first", ascending=ascending) - 1
    rank = rows[[*own, *heads]].merge(means, on=[*own, *heads], how="left")["_rank"].to_numpy()
    return rows.assign(**dict.fromkeys(heads[:-1], 0), **{heads[-1]: rank})
