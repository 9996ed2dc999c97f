"""Finished trainings: what was trained, how the loss went, and which factors were learned.

A training is read from the folder of its checkpoint, or, where the weights were not kept, from a record.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ssmax_eval.errors import UserError

Array = npt.NDArray[np.float64]

NAME = re.compile(r"(?P<family>.+)-seed(?P<seed>\d+)")
"""The name of a checkpoint: its family, which is what was trained, and its seed."""
RECORDS = "records"
"""The folder, beside those of the checkpoints, of the trainings whose weights were not kept: RECORDS/NAME.json."""


class FreeFactors(NamedTuple):
    """Factors on the scores that were learned for every number of keys by itself."""

    n: Array
    """Numbers of keys, [n]."""
    factors: Array
    """[layers, n]."""


@dataclass(frozen=True)
class Trained:
    """A finished training."""

    name: str
    """Name of the checkpoint, FAMILY-seedN."""
    family: str
    seed: int
    attention: str
    """Name of the attention that it was trained with."""
    record: Mapping[str, Any]
    """What `training.json` says."""
    curve: pd.DataFrame
    """The rows of `training.jsonl`: `step`, `loss_text` (nats), `right` (share), ..."""
    learned: Mapping[str, Array]
    """SSMax's s and b, [layers, heads], and the factors p, [layers, n], where they were learned."""

    def free_factors(self) -> FreeFactors | None:
        """The factors learned for every number of keys; None where none were.

        Without both ends, which have no gradient: a row with one key has nothing to weigh, and the last row predicts
        nothing.
        """
        table = self.learned.get("p")
        return None if table is None else FreeFactors(np.arange(2.0, table.shape[1]), table[:, 1:-1])


def read_trained(folder: str | os.PathLike[str]) -> list[Trained]:
    """The finished trainings of a folder, by name: its checkpoints, and the records in its folder `records`.

    What is not called NAME-seedN is left out, and so is a training that is not finished. Where there are both a
    checkpoint and a record, the checkpoint counts. UserError when there is no finished training, or when one cannot
    be read.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"no folder {str(root)!r}; --checkpoints takes the folder that the checkpoints were trained in")
    found = {path.stem: path for path in root.glob(f"{RECORDS}/*.json")}
    found |= {path.parent.name: path for path in root.glob("*/training.json")}
    trained = [_read(name, path) for name, path in sorted(found.items()) if NAME.fullmatch(name)]
    if not any(trained):
        raise UserError(
            f"no finished checkpoints in {str(root)!r}; it should hold folders such as 'softmax-seed0', "
            "which study/train.sh makes"
        )
    return [one for one in trained if one is not None]


def _read(name: str, path: Path) -> Trained | None:
    """One training, from its `training.json` or from its record; None where it is not finished."""
    match = NAME.fullmatch(name)
    assert match is not None
    try:
        record, attention, curve = _from_record(path) if path.parent.name == RECORDS else _from_checkpoint(path)
        if not record.get("finished"):
            return None
        learned = {name: np.asarray(layers, dtype=np.float64) for name, layers in record.get("learned", {}).items()}
        return Trained(name, match["family"], int(match["seed"]), attention, record, curve, learned)
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UserError(f"the training {str(path)!r} cannot be read: {type(error).__name__}: {error}") from None


class _Parts(NamedTuple):
    """What both kinds of files hold."""

    record: dict[str, Any]
    attention: str
    curve: pd.DataFrame


def _from_record(path: Path) -> _Parts:
    content = json.loads(path.read_text(encoding="utf-8"))
    attention = str(content["attention"]).partition(":")[0]
    return _Parts(content["training"], attention, pd.DataFrame(content["curve"]))


def _from_checkpoint(path: Path) -> _Parts:
    record, config = (
        json.loads((path.parent / name).read_text(encoding="utf-8")) for name in (path.name, "config.json")
    )
    rows = (path.parent / "training.jsonl").read_text(encoding="utf-8").splitlines()
    attention = config.get("ssmax_eval", {}).get("attention", "softmax")
    return _Parts(record, attention, pd.DataFrame([json.loads(row) for row in rows]))
