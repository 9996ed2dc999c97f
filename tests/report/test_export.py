"""Tables come out in the formats that others read."""

from io import BytesIO

import pandas as pd
import pytest

from ssmax_eval.report import export

TABLE = pd.DataFrame(
    {
        "series": pd.Categorical(["a_b & 50 %", "x|y <b>"]),
        "512": ["0.50 [0.25, 0.75]", "–"],
        "mean": [0.123456, float("nan")],
        "n": [3, 1000000],
    }
)


def test_markdown_aligns_numbers_and_keeps_cells_together() -> None:
    assert export.markdown(TABLE).splitlines() == [
        "| series | 512 | mean | n |",
        "| :-- | --: | --: | --: |",
        "| a_b & 50 % | 0.50 [0.25, 0.75] | 0.1235 | 3 |",
        r"| x\|y &lt;b> | – | – | 1000000 |",
    ]


def test_latex_is_booktabs_and_escaped() -> None:
    text = export.latex(TABLE)
    assert r"\begin{tabular}{lrrr}" in text
    assert r"\toprule" in text
    assert r"\bottomrule" in text
    assert r"a\_b \& 50 \% & 0.50 [0.25, 0.75] & 0.1235 & 3 \\" in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("values", "is_text"),
    [
        (["1,024 (0.5×) [< 512, 2,048]", "≥ 8,192"], False),
        (["< 512"], False),
        (["-0.25", "1e-05", ""], False),
        (["4bit-model"], True),
        (["2.9.0", "bundled"], True),
        (["sha256:12"], True),
    ],
)
def test_columns_of_text_are_told_from_columns_of_numbers(values: list[str], is_text: bool) -> None:
    assert export.prose(pd.DataFrame({"x": values})) == [is_text]


def test_parquet_reads_back() -> None:
    pytest.importorskip("pyarrow")
    content = export.parquet(TABLE)
    assert content is not None
    back = pd.read_parquet(BytesIO(content))
    assert back["mean"][0] == 0.123456
    assert back["series"].tolist() == TABLE["series"].tolist()


def test_without_pyarrow_there_is_no_parquet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    assert export.parquet(TABLE) is None


def test_names_and_answers_are_harmless_where_they_are_shown() -> None:
    table = pd.DataFrame({"series": ["=1+1", "@x", "-2", "a\x1b[31m", "![x](http://y)"], "score": [1.0, -2.0, 3, 4, 5]})
    lines = export.csv(table).decode().splitlines()
    assert lines[1:3] == ["'=1+1,1.0", "'@x,-2.0"]
    assert lines[3:5] == ["-2,3.0", "a\\x1b[31m,4.0"]
    text = export.markdown(table)
    assert "![" not in text
    assert "](" not in text
    assert "http://" not in text
    assert "\x1b" not in text
