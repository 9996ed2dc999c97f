"""Reports: results in, tables, figures and pages out. Never imports torch.

`write_report` makes everything at once. In a notebook, `report.plots` has a function for each figure;
`report.tables`, `report.summary`, `report.compare` and `report.effective` have the numbers behind them. All
take the frame of `read_results`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssmax_eval.report.differences import sentences
    from ssmax_eval.report.provenance import model_index
    from ssmax_eval.report.summary import terminal
    from ssmax_eval.report.writing import write_report

_HOMES = {
    "model_index": "provenance",
    "sentences": "differences",
    "terminal": "summary",
    "write_report": "writing",
}

__all__ = ["model_index", "sentences", "terminal", "write_report"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import ssmax_eval.report` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
