"""What the numbers of attentions, position maps and tasks here are made by: a version each, a digest of the source.

    python -m tests.run.definitions

records the digests of today. Do it when the source of a definition changed and no number did; where a number changed,
raise the `version` of its class first, so that cells measured before are not reused.
"""

import hashlib
import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from ssmax_eval import corpus
from ssmax_eval.attention import ATTENTIONS
from ssmax_eval.positions import POSITIONS, placed, rotation
from ssmax_eval.tasks import TASKS, chat, prompts

RECORD = Path(__file__).with_name("definitions.json")
SHARED: dict[str, tuple[ModuleType, ...]] = {
    "task": (prompts, chat, corpus),
    "attention": (),
    "position": (placed, rotation),
}
"""Modules that decide numbers of every definition of a kind, besides the files of its class and its bases."""


def definitions() -> dict[str, dict[str, Any]]:
    """Return the version and the digest of the source of every definition, by kind and name."""
    found = {}
    for kind, catalogue in (("attention", ATTENTIONS), ("position", POSITIONS), ("task", TASKS)):
        for name, cls in catalogue.items():
            bases: list[type | ModuleType] = [c for c in cls.__mro__ if c.__module__.startswith("ssmax_eval.")]
            files = {Path(inspect.getfile(one)) for one in [*bases, *SHARED[kind]]}
            digest = hashlib.sha256("".join(sorted(file.read_text(encoding="utf-8") for file in files)).encode())
            found[f"{kind} {name}"] = {"version": cls.version, "source": digest.hexdigest()[:16]}
    return found


if __name__ == "__main__":
    RECORD.write_text(json.dumps(definitions(), indent=1) + "\n", encoding="utf-8")
