"""Results for programs: `--json` prints one JSON object on stdout, and nothing else there."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import pandas as pd

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON (see docs/scripts.md).")


def print_json(content: Mapping[str, Any]) -> None:
    """Print a result; a number that JSON does not have becomes null."""
    click.echo(json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False))


def rows(table: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a table, each as a mapping from its columns."""
    return [dict(zip(table.columns, row, strict=True)) for row in table.astype("object").itertuples(index=False)]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):  # a number of numpy's
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
