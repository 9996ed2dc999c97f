"""Names tell series apart with as little as it takes."""

import json

import pandas as pd
import pytest

from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.report.quantities import find, measured, rows_of
from ssmax_eval.report.series import labelled, looks, series_table
from tests.report import examples


def names(*parts: pd.DataFrame) -> list[str]:
    frame = examples.as_stored(pd.concat(parts, ignore_index=True))
    return list(labelled(frame)["series"].cat.categories)


def test_one_checkpoint_is_left_out_of_names_and_softmax_comes_first() -> None:
    assert names(examples.niah("lssar:p=15"), examples.niah("softmax")) == ["softmax", "lssar:p=15"]


def test_names_add_only_what_differs() -> None:
    assert names(examples.niah(), examples.niah(checkpoint="b")) == ["smollm2-135m · softmax", "b · softmax"]
    assert names(examples.niah(), examples.niah(rope="base x50")) == ["softmax", "softmax · base x50"]
    assert names(examples.niah(dtype="bfloat16"), examples.niah()) == [
        "softmax · bfloat16",
        "softmax · float32",
    ]


def test_tasks_of_one_configuration_are_one_series() -> None:
    assert names(examples.niah(), examples.loss(length=64), examples.key_attention(lengths=(64,))) == ["softmax"]


def test_runs_that_extend_each_other_are_one_series_and_repeats_are_two() -> None:
    extended = examples.niah(lengths=(16384,)).assign(run="more")
    assert names(examples.niah(), extended) == ["softmax"]
    repeated = examples.niah(lengths=(512,)).assign(run="again")
    first = examples.niah()
    assert names(first, repeated) == [f"softmax · {first['run'][0]}", "softmax · again"]


def test_labels_are_kept_so_that_part_of_a_frame_looks_like_the_whole() -> None:
    frame = labelled(examples.everything())
    part = frame[frame["attention"] != "softmax"]
    assert labelled(part) is part
    assert list(series_table(part)["series"]) == [examples.ATTENTIONS[1]]


def test_an_attention_has_one_colour_whatever_the_checkpoint() -> None:
    parts = [examples.niah(a, checkpoint=c) for c in ("x", "y") for a in examples.ATTENTIONS]
    styles = looks(pd.concat(parts))
    assert styles["x · softmax"]["color"] == styles["y · softmax"]["color"]
    assert styles["x · softmax"]["color"] != styles["x · ssmax:s=0.12482"]["color"]
    assert styles["x · softmax"]["linestyle"] != styles["y · softmax"]["linestyle"]


def test_nine_attentions_all_look_different() -> None:
    styles = looks(pd.concat([examples.niah(f"ssmax:s={k}", lengths=(64,)) for k in range(9)]))
    assert len({(look["color"], str(look["linestyle"])) for look in styles.values()}) == 9


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame(), "nothing to report"),
        (pd.DataFrame({"run": ["a"]}), "no column checkpoint"),
    ],
)
def test_what_is_no_result_is_refused(frame: pd.DataFrame, says: str) -> None:
    with pytest.raises(UserError, match=says):
        labelled(frame)


def test_a_missing_task_and_an_all_failed_task_are_refused() -> None:
    rows = examples.niah()
    loss = find(examples.loss(length=40), "nll")
    with pytest.raises(NothingMeasured, match="loss was not measured; these results hold niah"):
        rows_of(rows, loss)
    with pytest.raises(NothingMeasured, match="every cell of niah failed"):
        measured(examples.fail(rows, rows["trial"] >= 0), find(rows, "score"))


def test_two_tables_of_one_label_are_two_series_and_one_table_is_one() -> None:
    table = "ssmax:s=table"
    parts = [
        examples.niah(table, lengths=(512,)).assign(run="a-niah"),
        examples.loss(table, length=40).assign(run="a-loss"),
        examples.niah(table, lengths=(1024,)).assign(run="b-niah"),
    ]
    frame = pd.concat(parts, ignore_index=True)
    one, other = (json.dumps({"attention": {"s": [[value]]}}) for value in (1, 2))
    frame.attrs = {"quantities": examples.QUANTITIES, "identities": {"a-niah": one, "a-loss": one, "b-niah": other}}
    named = labelled(frame)
    assert list(named["series"].cat.categories) == [f"{table} · variant 1", f"{table} · variant 2"]
    assert set(named.loc[named["run"] == "a-loss", "series"]) == {f"{table} · variant 1"}
    frame.attrs["identities"] = dict.fromkeys(frame["run"], one)
    assert list(labelled(frame)["series"].cat.categories) == [table]


def test_tasks_with_the_same_quantity_have_their_own_series() -> None:
    dense = examples.niah(lengths=(512,)).assign(task="niah_dense", run="dense")
    frame = pd.concat([examples.niah(), dense, examples.loss(length=40)])
    assert list(labelled(frame)["series"].cat.categories) == ["softmax", "softmax · niah_dense"]
    found = find(frame, "score")
    assert found.tasks == ("niah", "niah_dense")
    assert set(rows_of(frame, found)["task"]) == {"niah", "niah_dense"}
    alone = labelled(dense)
    assert list(alone["series"].cat.categories) == ["softmax"]
