"""The example notebook runs in a kernel, from its first cell to its last, on the tiny checkpoint."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "examples" / "evaluate.ipynb"


def test_the_notebook_measures_draws_and_compares(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in code)
    given = code[0].source
    code[0].source = given.replace("smollm2-135m", str(tiny_folder)).replace("[512, 1024, 2048]", "[200, 256]")
    assert len(set(given.split()) - set(code[0].source.split())) == 4
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    results = [[output.get("data", {}) for output in cell.outputs] for cell in code]
    assert any("image/png" in data for data in results[2])
    assert "softmax" in "".join(output.get("text", "") for output in code[3].outputs)
