"""ssmax-eval: does a checkpoint still find things, and predict well, far beyond its training length?

frame = ssmax_eval.evaluate("path-or-id", ["softmax", "ssmax"], ["niah", "loss"], lengths=[1024, 4096])
model = ssmax_eval.load("path-or-id", attention="ssmax:s=0.2")
hflm = ssmax_eval.lm("path-or-id", "ssmax")
with ssmax_eval.rewritten(hf_model, "lssar:p=15"): ...
frame = ssmax_eval.read_results("runs")
ssmax_eval.report("runs", "report")
ssmax_eval.compare(frame, baseline="softmax")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssmax_eval.attention import ATTENTIONS, Attention, parse
    from ssmax_eval.errors import UserError
    from ssmax_eval.model import Model, convert, load
    from ssmax_eval.model.harness import lm
    from ssmax_eval.report import Report, compare, write_report
    from ssmax_eval.rewriting import register, rewritten
    from ssmax_eval.run.check import check
    from ssmax_eval.run.evaluate import evaluate
    from ssmax_eval.store import read_results

    report: Report

__version__ = "0.1.0"

__all__ = [
    "ATTENTIONS",
    "Attention",
    "Model",
    "UserError",
    "__version__",
    "check",
    "compare",
    "convert",
    "evaluate",
    "lm",
    "load",
    "parse",
    "read_results",
    "register",
    "report",
    "rewritten",
    "write_report",
]

_ROOMS = {
    "ATTENTIONS": "attention",
    "Attention": "attention",
    "parse": "attention",
    "Model": "model",
    "convert": "model",
    "lm": "model.harness",
    "load": "model",
    "register": "rewriting",
    "rewritten": "rewriting",
    "check": "run.check",
    "evaluate": "run.evaluate",
    "UserError": "errors",
    "read_results": "store",
    "compare": "report",
    "report": "report",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first asked for, so that `import ssmax_eval` stays free of torch."""
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = importlib.import_module(f"{__name__}.{_ROOMS[name]}")
    return room if name == _ROOMS[name] else getattr(room, name)
