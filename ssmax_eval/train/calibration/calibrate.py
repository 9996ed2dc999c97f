"""Calibrate a checkpoint: what was asked in, a table of s and b out."""

import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from filelock import FileLock, Timeout

from ssmax_eval import __version__
from ssmax_eval.attention import Attention, Softmax, SSMax
from ssmax_eval.attention.auto import Auto
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.rope import refuse_length_dependence
from ssmax_eval.errors import UserError
from ssmax_eval.model import resolve, running
from ssmax_eval.train.calibration import closed_form, documents, fitting
from ssmax_eval.train.calibration.factors import Factors, position_weights, tables
from ssmax_eval.train.calibration.settings import Calibration
from ssmax_eval.train.calibration.table import Place

log = logging.getLogger(__name__)

Say = Callable[[str], None]
"""Takes a line for a person to read."""


class Start(NamedTuple):
    """What a checkpoint runs before it is calibrated, and the same as SSMax."""

    attention: Attention
    ssmax: SSMax


def start_of(checkpoint: Checkpoint) -> Start:
    """Return what a calibration starts from: softmax, which is s = 0 and b = 1, or the SSMax of the checkpoint.

    UserError for a checkpoint that was trained with another attention, or cannot be rewritten.
    """
    trained = resolve(checkpoint, Auto())
    if isinstance(trained, Softmax):
        return Start(trained, SSMax(s=0.0, b=1.0, layers=trained.layers))
    if isinstance(trained, SSMax):
        return Start(trained, trained)
    raise UserError(
        f"{checkpoint.name!r} was trained with {type(trained).__name__}; only checkpoints trained with softmax or "
        "SSMax can be calibrated"
    )


def place_of(checkpoint: Checkpoint, asked: Calibration, path: str | os.PathLike[str], **options: Any) -> Place:
    """Return where the table of a calibration is written, with all that decides its numbers."""
    given = {name: repr(value) for name, value in options.items() if value is not None}
    own = {"checkpoint": checkpoint.identity(), "rule": documents.RULE}
    return Place(Path(path), {**asked.identity(), **own, **given})


def calibrate(
    checkpoint: Checkpoint, asked: Calibration, path: str | os.PathLike[str], *, say: Say = log.info, **options: Any
) -> SSMax:
    """Fit s and b to a checkpoint, write them to the file `path` (JSON), and return the attention.

    `options` are what `model.running` takes besides an attention; the checkpoint runs under them while it is fitted.

    A calibration that was killed goes on from its last step, to the same numbers; one that is there already is read.
    UserError when the file holds something else, the text gives too few documents, the checkpoint cannot be rewritten,
    or the loss is not finite.
    """
    place = place_of(checkpoint, asked, path, **options)
    start = start_of(checkpoint)
    if asked.closed_form is not None:
        closed_form.refuse_too_short(asked, checkpoint.shape.train_length)
    refuse_length_dependence(checkpoint.config, asked.length)
    with _alone(place):
        if (there := place.read()) is not None:
            say(f"{place.path} is there already.")
            return there
        return _calibrate(checkpoint, asked, place, start, say, options)


def _calibrate(
    checkpoint: Checkpoint, asked: Calibration, place: Place, start: Start, say: Say, options: Mapping[str, Any]
) -> SSMax:
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        raise UserError(f"{checkpoint.name!r} has no tokenizer; put its tokenizer files beside its weights")
    wanted = asked.documents if asked.closed_form else asked.documents * max(asked.steps, 1)
    pieces = [torch.tensor(ids) for ids in documents.pieces(asked, tokenizer, wanted)]
    order = documents.order(len(pieces), wanted, asked.seed)
    factors = Factors.of(
        checkpoint.shape, asked.per, asked.fit, start.ssmax, weights := position_weights(asked.lengths)
    )
    began = time.monotonic()
    say(f"Loading {checkpoint.label} ...")
    with running(checkpoint, checkpoint.load(), start.ssmax, **options) as model:
        if model.max_positions is not None and asked.length > model.max_positions:
            raise UserError(
                f"{checkpoint.label!r} has a table of {model.max_positions} positions and cannot run {asked.length} "
                "tokens; give shorter --lengths"
            )
        if asked.closed_form is None:
            values, found = fitting.fit(model, asked, factors, [pieces[i] for i in order], weights, place, say)
        else:
            values, found = closed_form.solve(
                model, asked, factors, [pieces[i] for i in order[: len(pieces)]], checkpoint.shape, place, say
            )
        device = str(model.hf.device)
    made = {
        "checkpoint": checkpoint.name,
        "command": shlex.join(["ssmax-eval", *sys.argv[1:]]),
        "texts": list(asked.texts),
        "fitted_on": len(pieces),
        **found,
        "seconds": round(time.monotonic() - began, 1),
        "device": f"{device}, {torch.get_num_threads()} threads",
        "versions": {
            "ssmax_eval": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
    }
    place.write(tables(values, checkpoint.shape), made)
    done = place.read()
    assert done is not None
    return done


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Inside the block, no other process writes the same table."""
    lock = place.path.with_name(f".{place.path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            yield
            lock.unlink(missing_ok=True)
    except Timeout:
        raise UserError(f"another process is writing {str(place.path)!r}") from None
    except OSError as error:
        raise UserError(f"cannot write {str(place.path)!r}: {error.strerror or error}") from None
