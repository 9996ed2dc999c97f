"""LongRoPE (Ding et al. 2024, arXiv 2402.13753): a divisor for each frequency, from a file."""

import hashlib
import json
from typing import Any

from ssmax_eval.errors import UserError, shown
from ssmax_eval.files import expanded

LISTS = ("short_factor", "long_factor")
"""Divisors in a text up to the training length, and in a longer one."""


def lists_in(file: str) -> dict[str, list[float]]:
    """Return the lists in a JSON file: an object with both by name, also inside a config, or one list for all texts.

    One list makes angles that do not depend on the length of a text. UserError where the file does not hold that.
    """
    try:
        content = json.loads(expanded(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the lists of LongRoPE from {file!r}: {error}") from None
    if isinstance(content, dict):
        content = content.get("rope_parameters") or content.get("rope_scaling") or content
    found: dict[str, Any] = dict.fromkeys(LISTS, content) if isinstance(content, list) else dict(content or {})
    lists: dict[str, Any] = {name: found.get(name, found.get("long_factor")) for name in LISTS}
    for name, numbers in lists.items():
        if not (isinstance(numbers, list) and numbers and all(_positive(x) for x in numbers)):
            raise UserError(f"{file!r} must hold {name!r}, a list of numbers above 0; got {shown(numbers)}")
    return lists


def refuse_other_number(text: Any, lists: dict[str, list[float]]) -> None:
    """Raise UserError where the lists are not as long as there are frequencies in a model of this config."""
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    share = (getattr(text, "rope_parameters", None) or {}).get("partial_rotary_factor", 1.0)
    wanted = int(width * share) // 2
    for name, numbers in lists.items():
        if len(numbers) != wanted:
            raise UserError(f"{name} has {len(numbers)} numbers; this checkpoint has {wanted} frequencies in a head")


def digest(scaling: str | None) -> dict[str, str]:
    """Return a digest of the lists that a scaling of RoPE reads, for the identity of a run; empty without one."""
    kind, _, settings = (scaling or "").partition(":")
    files = [part.partition("=")[2] for part in settings.split(",") if part.startswith("file=")]
    if kind != "longrope" or not files:
        return {}
    content = json.dumps(lists_in(files[0]), sort_keys=True).encode()
    return {"rope_lists": hashlib.sha256(content).hexdigest()[:16]}


def depends_on_length(table: dict[str, Any]) -> bool:
    """Whether a table of LongRoPE has other divisors for long texts."""
    return table.get("short_factor") != table.get("long_factor")


def _positive(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and x > 0
