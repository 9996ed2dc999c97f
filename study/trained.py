"""Checkpoints that `ssmax-eval train` left: what was trained, how the loss went, which scales were learned."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssmax_eval.errors import UserError
from ssmax_eval.report.statistics import Array

NAME = re.compile(r"(?P<family>.+)-seed(?P<seed>\d+)")
"""A checkpoint's folder: the family, which is what was trained, and the seed it was drawn from."""


@dataclass(frozen=True)
class Trained:
    """A finished checkpoint."""

    name: str
    family: str
    seed: int
    attention: str
    """Name of the attention that its config carries."""
    record: dict[str, Any]
    """What training.json says."""
    curve: pd.DataFrame
    """The rows of training.jsonl: `step`, `loss_text`, `right`, ... (nats; shares)."""
    learned: dict[str, Array]
    """SSMax's s and b, [layers, heads], and the factors p, [layers, n], where they were learned."""

    def free_factors(self) -> tuple[Array, Array] | None:
        """The numbers of keys n, and the factors learned for them, [layers, n]; None where none were.

        Without the ends, which have no gradient: a row with one key weighs nothing, the last row predicts nothing.
        """
        table = self.learned.get("p")
        return None if table is None else (np.arange(2.0, table.shape[1]), table[:, 1:-1])


def read_trained(folder: str | os.PathLike[str]) -> list[Trained]:
    """The finished checkpoints in a folder, by name. UserError when it holds none.

    Folders that are not called NAME-seedN, and trainings still under way, are passed over.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"no folder {str(root)!r}; --checkpoints takes the folder that the checkpoints were trained in")
    found = [made for path in sorted(root.glob("*/training.json")) if (made := _read(path.parent)) is not None]
    if not found:
        raise UserError(
            f"no finished checkpoints in {str(root)!r}; it should hold folders as {'softmax-seed0'!r}, "
            "made by `ssmax-eval train ... -o FOLDER/softmax-seed0`"
        )
    return found


def _read(folder: Path) -> Trained | None:
    match = NAME.fullmatch(folder.name)
    try:
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        if match is None or not record.get("finished"):
            return None
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        rows = (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()
        curve = pd.DataFrame([json.loads(row) for row in rows])
        learned = {name: np.asarray(layers, dtype=np.float64) for name, layers in record.get("learned", {}).items()}
    except (ValueError, OSError) as error:
        raise UserError(f"the checkpoint {str(folder)!r} cannot be read: {error}") from None
    attention = config.get("ssmax_eval", {}).get("attention", "softmax")
    return Trained(folder.name, match["family"], int(match["seed"]), attention, record, curve, learned)
