"""Commands as a user types them."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from ssmax_eval.cli.main import main


def call(*arguments: object) -> Result:
    """Run a command; an error that is no user's mistake is raised."""
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def answer(*arguments: object) -> Any:
    """Run a command with --json, and return what it prints."""
    return json.loads(call(*arguments, "--json").stdout)


def stored_lines(root: Path) -> list[str]:
    """The lines of all cells in a store."""
    return [line for path in root.glob("*/cells.jsonl") for line in path.read_text().splitlines()]
