"""A report is complete, self-contained, safe to open and the same twice."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from shutil import which

import matplotlib.style
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ssmax_eval.errors import UserError
from ssmax_eval.report import plots, write_report, writing
from ssmax_eval.report.sections import sections
from tests.report import examples

EVIL = "<script>alert('x')</script>|pipe"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report, but for the drawing of its figures, which takes longest."""
    folder = tmp_path_factory.mktemp("report")
    frame = examples.everything(checkpoint="plain")
    frame = pd.concat([frame, examples.niah(checkpoint=EVIL, lengths=(512,))])
    provenance = {run: {"command": EVIL, "seed": k} for k, run in enumerate(frame["run"].astype("str").unique())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "render", lambda figure, kind: f"<svg {kind}".encode())
        written = write_report(frame, folder, title="Title & <more>", provenance=provenance)
    assert sorted(written) == sorted(path for path in folder.rglob("*") if path.is_file())
    return folder


@pytest.fixture(scope="module")
def figure() -> Figure:
    with matplotlib.style.context("ssmax_eval.report.styles.double"):
        return plots.by_length(examples.niah(lengths=(512, 1024)))


def test_report_has_pages_figures_and_tables(report: Path) -> None:
    names = {path.relative_to(report).as_posix() for path in report.rglob("*.*")}
    assert {"report.html", "report.md", "figures/niah-heatmap.png", "figures/niah-heatmap.pdf"} <= names
    assert {"model-index.yaml", "tables/effective-length.tex", "tables/niah-difference.csv"} <= names
    assert {"tables/summary.csv", "tables/niah-cells.csv", "tables/loss-by-position.csv"} <= names
    markdown = (report / "report.md").read_text()
    for link in re.findall(r"\]\(([^)]+)\)", markdown):
        assert (report / link).is_file(), link


def test_pdf_fonts_are_embedded_truetype_and_png_is_sharp(figure: Figure) -> None:
    with matplotlib.style.context("ssmax_eval.report.styles.double"):
        pdf, png = writing.render(figure, "pdf"), writing.render(figure, "png")
    assert b"/FontFile2" in pdf
    assert b"/Subtype /Type3" not in pdf
    assert int.from_bytes(png[16:20], "big") >= 6.9 * 150


@pytest.mark.parametrize("kind", ["pdf", "svg"])
def test_the_same_figure_gives_the_same_file(figure: Figure, kind: str) -> None:
    with matplotlib.style.context("ssmax_eval.report.styles.double"):
        assert writing.render(figure, kind) == writing.render(figure, kind)


def test_page_escapes_names_and_loads_nothing(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "Title &amp; &lt;more&gt;" in page
    outside = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']*|url\(|@import""", page)
    assert outside == []


def test_page_is_well_formed_and_every_figure_has_alt_text(report: Path) -> None:
    class Reader(HTMLParser):
        """Follows open elements and collects images."""

        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.images: list[dict[str, str | None]] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "img":
                self.images.append(dict(attrs))
            if tag not in ("img", "meta", "link", "br"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    reader = Reader()
    reader.feed((report / "report.html").read_text())
    assert reader.open == []
    assert len(reader.images) == len(list(report.glob("figures/*.png")))
    for image in reader.images:
        assert len(image["alt"] or "") > 40
        assert b"<svg" in base64.b64decode((image["src"] or "").removeprefix("data:image/svg+xml;base64,"))


def test_missing_tasks_leave_out_their_section(report: Path) -> None:
    headings = [part.heading for part in sections(examples.niah(lengths=(512,), depths=(0.5,)))]
    assert headings == ["Summary", "Needle in a haystack"]
    whole = re.findall("^## (.*)$", (report / "report.md").read_text(), re.MULTILINE)
    assert whole == [
        *("Summary", "Comparison", "Needle in a haystack", "Loss"),
        *("Attention on the needle", "Failures", "Provenance"),
    ]


def test_empty_results_and_an_unwritable_directory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nothing to report"):
        write_report(pd.DataFrame(), tmp_path)
    monkeypatch.setattr(writing, "sections", lambda frame, **options: [])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="unknown style 'poster'; known: single, double, slides"):
        write_report(examples.niah(), tmp_path, style="poster")
    with pytest.raises(UserError, match="cannot write"):
        write_report(examples.niah(), tmp_path / "file")


def test_a_report_never_imports_torch() -> None:
    code = (
        "import sys; import ssmax_eval.report.writing, ssmax_eval.report.plots;"
        "assert not {'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


CLICKS = """<script>
const table = [...document.querySelectorAll("table")].find(t => t.caption.textContent.includes("niah-cells.csv"));
const column = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === "mean");
const button = table.tHead.rows[0].cells[column].firstElementChild;
const seen = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
button.closest("details").open = true;
button.focus();
button.click(); const up = seen(); button.click(); const down = seen();
document.title = JSON.stringify({up, down, focused: document.activeElement === button,
  state: table.tHead.rows[0].cells[column].getAttribute("aria-sort")});
</script></body>"""


@pytest.mark.skipif(which("chromium") is None, reason="no chromium here")
def test_the_page_opens_without_errors_and_its_tables_sort(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text((report / "report.html").read_text().replace("</body>", CLICKS))
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    switches += [
        "--disable-background-networking",
        "--disable-component-update",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    command = ["chromium", *switches, "--enable-logging=stderr", "--dump-dom", page.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in result.stderr
    seen = json.loads(re.findall("<title>(.*)</title>", result.stdout)[0])
    numbers = [float(text) for text in seen["up"] if text != "–"]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 2
    assert [float(text) for text in seen["down"] if text != "–"] == sorted(numbers, reverse=True)
    assert seen["up"][-1] == seen["down"][-1] == "–"
    assert seen["focused"]
    assert seen["state"] == "descending"
