"""From Python: one call writes a report, one compares; a mistake that the user can mend is never swallowed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import ssmax_eval
from ssmax_eval.errors import NothingMeasured, UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.report import comparison, effective, sections, summary, tables, views, writing
from ssmax_eval.report.differences import all_differences
from ssmax_eval.store import Store
from tests.report import examples


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A small store of two runs, as `ssmax-eval run` leaves it."""
    for attention in examples.ATTENTIONS:
        about = examples.run("niah", attention)
        name = str(about.pop("run"))
        description = {
            "columns": about,
            "identity": {"attention": {"class": attention}},
            "quantities": examples.QUANTITIES["niah"],
            "notes": [f"{attention} as it is"],
        }
        with Store(tmp_path / "runs").writer(name, description, {"device": "cpu"}) as writer:
            for trial in range(6):
                found = float(trial < 3 or attention == "softmax")
                values: dict[str, float | str] = {"score": found, "expected": str(trial), "logprob": -1.0}
                writer.append(Measurement(Cell(512, depth=0.5, trial=trial), values))
    return tmp_path / "runs"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "render", lambda figure, kind: b"a figure")


@pytest.mark.usefixtures("undrawn")
def test_a_report_is_one_call_and_prints_nothing(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = ssmax_eval.report(str(runs), tmp_path / "a", title="Mine", baseline="softmax")
    assert written[0] == tmp_path / "a" / "report.html"
    assert all(path.is_file() for path in written)
    page = (tmp_path / "a" / "report.md").read_text()
    assert "# Mine" in page
    assert "softmax: softmax as it is" in page
    assert "device" in page
    folders = sorted(folder for folder in runs.iterdir() if folder.is_dir())
    several = ssmax_eval.report(folders, tmp_path / "b")
    assert len(several) == len(written)
    of_frame = ssmax_eval.report(ssmax_eval.read_results(runs), tmp_path / "c")
    assert (tmp_path / "c" / "tables" / "niah-cells.csv") in of_frame
    assert capsys.readouterr().out == ""


def test_compare_takes_paths_or_a_frame(runs: Path) -> None:
    table = ssmax_eval.compare(str(runs), baseline="softmax")
    pd.testing.assert_frame_equal(table, ssmax_eval.compare(ssmax_eval.read_results(runs)))
    row = table[(table["quantity"] == "needles found") & (table["context_length"] == 512)].iloc[0]
    assert row[["mean", "n", "gained", "lost"]].tolist() == [-0.5, 6, 0, 3]
    assert row["p"] == 0.25
    assert row["sentence"] == (
        "Needles found at 512 tokens: share 0.50 lower with ssmax:s=0.12482 than with softmax, on 6 identical trials "
        "(95 % interval −0.86 to +0.11; 0 only with ssmax:s=0.12482, 3 only with softmax; exact p = 0.25): "
        "inconclusive."
    )
    assert set(table["quantity"]) == {"needles found", "log-probability of the answer"}


def test_the_package_is_still_a_package() -> None:
    import ssmax_eval.report
    from ssmax_eval.report import plots, write_report

    assert ssmax_eval.report is sys.modules["ssmax_eval.report"]
    assert callable(ssmax_eval.report)
    assert callable(plots.by_length)
    assert write_report is ssmax_eval.write_report
    assert "folder `output`" in str(type(ssmax_eval.report).__call__.__doc__)


@pytest.mark.parametrize("call", ["report(sys.argv[1], sys.argv[2])", "compare(sys.argv[1], baseline='softmax')"])
def test_neither_imports_torch(call: str, runs: Path, tmp_path: Path) -> None:
    code = f"import sys, ssmax_eval; ssmax_eval.{call}; assert not {{'torch', 'transformers'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(runs), str(tmp_path / "report")], check=True)


SMALL: dict[str, Any] = {"lengths": (512,), "depths": (0.5,)}
FRAME = pd.concat(
    [part for a in examples.ATTENTIONS for part in (examples.niah(a, **SMALL), examples.loss(a, length=200))]
)
ALONE = examples.niah(**SMALL)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sections.sections(FRAME, baseline="softmux"), "unknown baseline 'softmux'"),
        (lambda: sections.sections(ALONE, baseline="softmax"), "at least two series"),
        (lambda: comparison.sentences(FRAME, "softmux"), "unknown baseline 'softmux'"),
        (lambda: all_differences(FRAME, "softmux"), "unknown baseline 'softmux'"),
        (lambda: ssmax_eval.compare(FRAME, "softmux"), "unknown baseline 'softmux'"),
        (lambda: ssmax_eval.compare(ALONE), "at least two series"),
        (lambda: ssmax_eval.compare(FRAME.drop(columns="status")), "no column status"),
        (lambda: ssmax_eval.compare("no-such-folder"), "no runs in 'no-such-folder'"),
        (lambda: summary.measures(FRAME.drop(columns="rope")), "no column rope"),
        (lambda: effective.effective_lengths(FRAME.drop(columns="task")), "no column task"),
        (lambda: sections.sections({"a": 1}), "not a frame of results but dict"),  # type: ignore[arg-type]
        (lambda: ssmax_eval.report(FRAME, "report", style="poster"), "unknown style 'poster'"),
        (lambda: ssmax_eval.report("no-such-folder", "report"), "no runs in 'no-such-folder'"),
    ],
)
def test_a_mistake_is_said(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        call()


PLACES: dict[str, tuple[Any, str]] = {
    "a view": (views.VIEWS, "heatmap"),
    "the summary": (tables, "by_length"),
    "the effective length": (tables, "by_depth"),
    "the sentences": (sections, "sentences"),
    "the differences": (sections, "differences"),
    "the effective lengths": (effective, "effective_lengths"),
}


@pytest.mark.parametrize("place", PLACES)
def test_only_nothing_measured_is_caught_on_the_way_to_a_report(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: Any, **__: Any) -> Any:
        raise UserError("this can be mended")

    where, name = PLACES[place]
    if isinstance(where, dict):
        monkeypatch.setitem(where, name, mistaken)
    else:
        monkeypatch.setattr(where, name, mistaken)
    with pytest.raises(UserError, match="this can be mended"):
        sections.sections(FRAME)


def test_a_view_with_nothing_to_draw_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> Any:
        raise NothingMeasured("no depths")

    monkeypatch.setitem(views.VIEWS, "heatmap", nothing)
    needles = next(part for part in sections.sections(ALONE) if part.heading == "Needle in a haystack")
    assert [picture.name for picture in needles.pictures] == ["niah-by-length"]


def test_nothing_to_compare_is_a_mistake_of_who_asks_and_none_of_a_report() -> None:
    frame = pd.concat([ALONE, examples.loss("ssmax", length=200)])
    frame.attrs["quantities"] = examples.QUANTITIES
    with pytest.raises(UserError, match="nothing to compare: no two series"):
        ssmax_eval.compare(frame)
    assert "Comparison" not in [part.heading for part in sections.sections(frame)]
