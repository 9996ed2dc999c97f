"""Differences in stretches of positions, against numbers that are computed by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ssmax_eval.errors import NothingMeasured
from ssmax_eval.report.bands import band_differences
from tests.report import examples


def two(documents: int = 5) -> pd.DataFrame:
    """Softmax and an attention that gains 0.5 nats from position 2 048 on, and loses 0.1 before."""
    plain = examples.loss("softmax", documents=documents)
    other = examples.loss("ssmax", documents=documents)
    moved = other.assign(nll=other["nll"] + np.where(other["position"] < 2048, 0.1, -0.5))
    frame = pd.concat([plain, moved], ignore_index=True)
    frame.attrs = plain.attrs
    return frame


def test_each_stretch_has_its_own_paired_interval() -> None:
    frame = two()
    table = band_differences(frame, [1, 1024, 2048, 4096], "softmax", "nll")
    assert [(row["first"], row["last"]) for _, row in table.iterrows()] == [(1, 1023), (1024, 2047), (2048, 4095)]
    assert table["mean"].tolist() == pytest.approx([0.1, 0.1, -0.5], abs=0.05)
    far = frame[frame["position"] >= 2048]
    means = far.groupby(["attention", "source"], observed=True)["nll"].mean().unstack("attention")
    change = means["ssmax"] - means["softmax"]
    half = stats.t.ppf(0.975, len(change) - 1) * change.std() / len(change) ** 0.5
    last = examples.row(table, 2)
    assert (last["n"], last["units"]) == (5, 5)
    assert last["before"] == pytest.approx(means["softmax"].mean())
    assert last["after"] == pytest.approx(means["ssmax"].mean())
    assert (last["low"], last["high"]) == pytest.approx((change.mean() - half, change.mean() + half))


def test_few_documents_have_no_interval_and_no_position_is_nothing() -> None:
    assert band_differences(two(documents=4), [1, 4096], "softmax", "nll")["low"].isna().all()
    with pytest.raises(NothingMeasured):
        band_differences(two(), [5000, 6000], "softmax", "nll")
