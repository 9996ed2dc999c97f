"""The commands behind the numbers, written once however many seeds they were typed for."""

from __future__ import annotations

import re
from collections.abc import Iterable

SEED = re.compile(r"(-seed|--seed )(\d+)\b")
"""Where a command says its seed: in the checkpoint's name, and in training also as an option."""


class Commands:
    """A numbered list that grows as the page is written."""

    def __init__(self) -> None:
        self.seeds: dict[str, set[int]] = {}

    def numbers(self, lines: Iterable[str]) -> list[int]:
        """The numbers, from 1, of these commands; new ones are added."""
        return sorted({self._number(line) for line in lines})

    def _number(self, line: str) -> int:
        match = re.search(r"-seed(\d+)\b", line)
        # An evaluation has a --seed of its own, which is not the checkpoint's.
        pattern = SEED if line.startswith("ssmax-eval train") else re.compile(r"(-seed)(\d+)\b")
        general = pattern.sub(r"\1$seed", line) if match else line
        self.seeds.setdefault(general, set()).update([int(match[1])] if match else [])
        return list(self.seeds).index(general) + 1

    def markdown(self) -> str:
        """The list; a command for several seeds is a loop of the shell, for one it is as it was typed."""
        lines = []
        for number, (general, seeds) in enumerate(self.seeds.items(), 1):
            each = sorted(seeds)
            if len(each) > 1:
                text = f"for seed in {' '.join(map(str, each))}; do {general}; done"
            else:
                text = general.replace("$seed", str(each[0])) if each else general
            lines.append(f"{number}. `{text}`")
        return "\n".join(lines)
