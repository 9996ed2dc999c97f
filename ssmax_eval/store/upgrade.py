"""Stored runs of older formats, as the format of today has them. Nothing on disk is changed.

Format 0 had no quantities, wrote "theta" for RoPE's base, and had two kinds of lines in `sessions.jsonl` that did
not say which they are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

QUANTITIES = Path(__file__).with_name("quantities.json")
"""What the tasks of format 0 measured: task -> quantities, as the tasks declare them now."""


def upgraded(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a run, of any format, as the format of today has it."""
    if "quantities" in run:
        return {"format": 0, **run}
    known, columns = json.loads(QUANTITIES.read_text(encoding="utf-8")), run["columns"]
    columns = {**columns, "rope": str(columns.get("rope", "")).replace("theta x", "base x")}
    return {"format": 0, **run, "columns": columns, "quantities": known.get(columns["task"], [])}


def session_with_kind(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line of `sessions.jsonl` with its kind: "session" for a start, "out_of_memory" for what came of that."""
    return {"kind": "session" if "started" in entry else "out_of_memory", **entry}
