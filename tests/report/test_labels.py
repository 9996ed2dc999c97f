"""A user's names for series, pooled seeds, and frames that lack what older runs did not store."""

import numpy as np
import pandas as pd
import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.report import axes, plots, tables
from ssmax_eval.report.differences import differences
from ssmax_eval.report.labels import parsed, renamed
from ssmax_eval.report.matching import matched
from ssmax_eval.report.pairs import pairs
from ssmax_eval.report.prefixes import prefix_means
from ssmax_eval.report.series import labelled, series_table
from tests.report import examples


def seeds(count: int = 6) -> pd.DataFrame:
    """Needles of trainings with softmax and SSMax, some seeds of each."""
    parts = [
        examples.niah(attention, checkpoint=f"{kind}-seed{seed}", lengths=(512,), trials=2)
        for kind, attention in (("softmax", "softmax"), ("ssmax", "ssmax"))
        for seed in range(count)
    ]
    frame = pd.concat(parts, ignore_index=True)
    frame.attrs["quantities"] = examples.QUANTITIES
    return frame


def test_pooled_seeds_are_one_series_and_the_units() -> None:
    frame = renamed(seeds(), parsed(("ssmax-seed*=SSMax", "softmax-seed*=Softmax")), "seed")
    assert list(labelled(frame)["series"].cat.categories) == ["Softmax", "SSMax"]
    assert pairs(frame) == [("Softmax", "SSMax")]
    table = tables.by_length(frame, "score")
    assert table["units"].tolist() == [6, 6]
    row = examples.row(differences(frame, quantity="score").set_index("context_length"), 512)
    # Like with like: 5 depths of 2 trials, a seed with the same seed.
    assert row[["n", "units", "unit", "unmatched"]].tolist() == [6 * 10, 6, "seed", 0]


def test_labels_without_pool_keep_the_checkpoints_apart() -> None:
    frame = labelled(renamed(seeds(2), {"ssmax-seed*": "SSMax"}))
    assert frame["series"].nunique() == 4
    assert any(name.startswith("SSMax · ssmax-seed1") for name in frame["series"].cat.categories)


def test_a_wrong_label_or_pool_is_said() -> None:
    with pytest.raises(UserError, match="label 'nope\\*' fits no checkpoint and no attention; there are softmax-seed0"):
        renamed(seeds(1), {"nope*": "X"})
    with pytest.raises(UserError, match="cannot pool 'trial'; known: seed"):
        renamed(seeds(1), {}, "trial")
    with pytest.raises(UserError, match="--label takes PATTERN=NAME"):
        parsed(("SSMax",))


def old_and_new(make: pd.DataFrame, unit: str, digest: str) -> pd.DataFrame:
    """Two series whose first unit was stored before there were digests."""
    parts = [make, make.assign(**{**examples.run(str(make["task"].iloc[0]), "ssmax"), "attention": "ssmax"})]
    frame = pd.concat(parts, ignore_index=True)
    frame[digest] = ("d" + frame[unit].astype("str")).where(frame[unit] > 0, np.nan)
    frame.attrs["quantities"] = examples.QUANTITIES
    return frame


def test_old_cells_without_digests_are_the_same_on_both_sides() -> None:
    frame = old_and_new(examples.niah(lengths=(512,)), "trial", "prompt_digest")
    frame["prompt"] = np.nan
    assert set(matched(labelled(frame), "score", "softmax", "ssmax")["match"]) == {"both"}


def test_old_documents_without_digests_still_count() -> None:
    frame = old_and_new(examples.loss(length=300), "document", "document_digest")
    means = prefix_means(frame, lengths=[128])
    assert means.groupby("series", observed=True).size().tolist() == [5, 5]
    assert differences(frame, quantity="nll")["n"].tolist() == [5, 5, 5]


def test_a_training_length_that_is_not_known_is_nan() -> None:
    frame = pd.concat([examples.niah(train_length=None), examples.niah("ssmax", train_length=None)])
    assert series_table(frame)["train_length"].isna().all()
    assert "units" in tables.by_length(frame, "score")


def test_lengths_are_multiples_where_this_is_asked_for() -> None:
    frame = examples.niah()
    assert axes.tokens(4096) == "4K"
    with axes.in_multiples(frame):
        assert [axes.tokens(n) for n in (512, 2048, 4096)] == ["1/4×", "1×", "2×"]
        assert plots.by_length(frame, "score").axes[0].get_xlabel() == (
            "context length (multiples of the training length, 2,048 tokens)"
        )
    assert axes.tokens(4096) == "4K"


def test_multiples_need_one_training_length() -> None:
    several = pd.concat([examples.niah(), examples.niah(checkpoint="b", train_length=128)])
    for frame, given in ((several, "128, 2048"), (examples.niah(train_length=None), "none")):
        with (
            pytest.raises(UserError, match=f"one training length; these results have {given}"),
            axes.in_multiples(frame),
        ):
            pass
