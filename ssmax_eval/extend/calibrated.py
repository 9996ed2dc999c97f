"""A candidate with the s and b of SSMax fitted to it, on text that no rung measures."""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, unknown
from ssmax_eval.extend.candidates import Candidate
from ssmax_eval.extend.rungs import Asked
from ssmax_eval.model import resolve_position
from ssmax_eval.run.choosing import Say
from ssmax_eval.train.calibration.calibrate import calibrate
from ssmax_eval.train.calibration.settings import PASSES, Calibration


class Way(NamedTuple):
    """How s and b are fitted."""

    closed_form: str | None
    documents: int
    steps: int

    @property
    def passes(self) -> int:
        """Forward passes over a document of full length that it takes, roughly."""
        return self.documents if self.closed_form else PASSES * self.documents * self.steps


WAYS = {"closed-form": Way("entropy", 4, 0), "gradient": Way(None, 2, 30), "none": Way(None, 0, 0)}
"""The first needs no gradients: rows keep at every length the entropy that they have at the training length."""


def way(name: str) -> Way:
    """Return how to fit, by its name. UserError for another name."""
    if name not in WAYS:
        raise unknown("way to calibrate:", name, WAYS)
    return WAYS[name]


def table_of(candidate: Candidate, folder: Path) -> Path:
    """Return the file of a candidate's table of s and b."""
    return folder / f"ssmax-{slug(candidate)}.json"


def slug(candidate: Candidate) -> str:
    """Return the name of a candidate as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", candidate.name).strip("-.")


def calibrated(candidate: Candidate, checkpoint: Checkpoint, asked: Asked, how: Way, folder: Path, say: Say) -> (
    Candidate
):  # fmt: skip
    """Fit SSMax to a candidate, write its table into `folder`, and return the candidate with it.

    UserError where it cannot be fitted: another attention, a text that is too short.
    """
    if candidate.attention != "auto":
        raise UserError(f"{candidate.name} has an attention of its own")
    changed, path = candidate.on(checkpoint), table_of(candidate, folder)
    beyond = [length for length in asked.lengths if length > asked.trained]
    given = Calibration(
        lengths=tuple(beyond if how.closed_form else asked.lengths), closed_form=how.closed_form,
        reference=asked.trained if how.closed_form else None, steps=how.steps, documents=how.documents,
        seed=asked.seed, texts=asked.texts, held_out=asked.documents, held_out_length=asked.to,
    )  # fmt: skip
    say(f"Calibrating {candidate.name} ...")
    calibrate(changed, given, path, say=say, position=resolve_position(changed, candidate.position))
    return replace(candidate, attention=f"ssmax:s={path},b={path}", called="calibrated ssmax")
