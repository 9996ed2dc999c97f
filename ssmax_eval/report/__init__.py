"""Reports: results in, tables, figures and pages out. Never imports torch.

`ssmax_eval.report("runs", "report")` writes everything at once. In a notebook, `report.plots` has a function for each
figure; `report.tables`, `report.summary`, `report.comparison` and `report.effective` have the numbers behind them. All
take the frame of `read_results`.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ssmax_eval.report.comparison import compare, headlines, sentences
    from ssmax_eval.report.provenance import model_index
    from ssmax_eval.report.reading import Results
    from ssmax_eval.report.summary import terminal
    from ssmax_eval.report.writing import write_report

_HOMES = {
    "compare": "comparison",
    "headlines": "comparison",
    "model_index": "provenance",
    "sentences": "comparison",
    "terminal": "summary",
    "write_report": "writing",
}

__all__ = ["compare", "headlines", "model_index", "sentences", "terminal", "write_report"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import ssmax_eval.report` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


class Report(ModuleType):
    """This package, which can be called."""

    def __call__(
        self,
        results: Results,
        output: str | os.PathLike[str] = "report",
        *,
        title: str = "Long-context evaluation",
        style: str = "double",
        baseline: str | None = None,
        label: Mapping[str, str] | None = None,
        pool: str | None = None,
        multiples: bool = False,
        suites: Sequence[str] = (),
    ) -> list[Path]:
        """Draw figures and tables, and write them into the folder `output`; return the files, the pages first.

        `results` is the path of a run or of a folder of runs, several of them, or a frame of `read_results`. `title`
        heads the pages; `style` is "single" or "double" (columns of a paper) or "slides"; `baseline` is the series or
        the attention that the others are compared with, such as "softmax"; `label` maps patterns of checkpoints and
        attentions to names, such as
        "ssmax-seed*" to "SSMax"; `pool` "seed" makes one series of the seeds of a training; `multiples` writes lengths
        as multiples of the training length; `suites` are the files of suites of your own, beside those that are
        shipped. Prints nothing. Raises UserError where there are no results, for an unknown style, baseline or suite,
        and where the folder cannot be written.
        """
        from ssmax_eval.report.reading import read
        from ssmax_eval.report.writing import write_report

        frame, provenance = read(results)
        return write_report(
            *(frame, output), title=title, style=style, baseline=baseline, label=label, pool=pool,
            multiples=multiples, provenance=provenance, suites=suites,
        )  # fmt: skip


# `ssmax_eval.report(...)` is what a user types, and `ssmax_eval.report.plots` is where the figures are.
sys.modules[__name__].__class__ = Report
