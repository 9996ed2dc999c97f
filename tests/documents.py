"""What the documents say, taken apart: their code blocks, and their command lines as the shell and click read them."""

import re
import shlex
from pathlib import Path

import click

from ssmax_eval.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return [text for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def lines(page: Path, program: str) -> list[str]:
    """What a page says to type at a shell, in its blocks and between backticks, that starts with `program`.

    Between backticks, two words such as `ssmax-eval show` name a command and are not to be typed as they stand.
    """
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(block for kind, block in BLOCK.findall(text) if kind in ("sh", "text", ""))
    spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    if program == "ssmax-eval":
        spans = [span for span in spans if len(span.split()) > 2]
    found = [line.strip().removeprefix("$ ") for line in [*shell.replace("\\\n", " ").splitlines(), *spans]]
    return [line for line in found if line.startswith(f"{program} ")]


def parse(line: str) -> None:
    """Parse a line such as `ssmax-eval run x > y  # why` and run nothing; click.UsageError where it is not valid."""
    words = shlex.split(line, comments=True)
    words = words[1 : words.index(">")] if ">" in words else words[1:]
    if words[0].startswith("-"):
        main.make_context("ssmax-eval", words, resilient_parsing=True)
        return
    if words[0] not in main.commands:
        raise click.UsageError(f"no such command: {words[0]}")
    main.commands[words[0]].make_context(words[0], words[1:])
