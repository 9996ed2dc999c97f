"""Train a small language model, from scratch or further: recipe in, checkpoint folder out."""

import json
import logging
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from ssmax_eval import __version__
from ssmax_eval.attention import Shape, describe
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.corpus import Text
from ssmax_eval.errors import UserError
from ssmax_eval.files import write_whole
from ssmax_eval.train.card import write_card
from ssmax_eval.train.data import Data, training_texts
from ssmax_eval.train.model import Plan, learned, learning, load_model, new_model, plan, write
from ssmax_eval.train.recipe import Recipe
from ssmax_eval.train.tokenizer import make_tokenizer
from ssmax_eval.train.trainer import PROGRESS, LMTrainer, last_progress, refuse_broken

log = logging.getLogger(__name__)

Say = Callable[[str], None]
"""Takes a line for a person to read."""

RECORD = "training.json"
"""In the output folder: what was trained, on what, with what."""
FREE_TO_CHANGE = ("threads", "texts")
"""Fields of a recipe that may differ for the same training; the content of the texts is in the data's digest."""


def train(
    recipe: Recipe,
    folder: str | os.PathLike[str],
    start: str | None = None,
    *,
    trust_remote_code: bool = False,
    say: Say = log.info,
) -> bool:
    """Train a checkpoint into `folder`, from the checkpoint `start` or from scratch; return False if it is there.

    A training that was stopped goes on from its last save. `trust_remote_code` runs Python code that `start` brings.
    `say` is called with each line that a person may want to read; by default they go to logging. UserError when the
    folder holds another training or cannot be written, the recipe, the texts and the checkpoint do not fit together,
    or the loss is no longer finite.

    Example:
        >>> train(load("cpu", {"attention": "ssmax", "texts": ["novels"]}), "trained/ssmax")
    """
    target = Path(folder)
    source = None if start is None else Checkpoint(start, dtype="float32", trust_remote_code=trust_remote_code)
    shape = Shape(recipe.layers, recipe.heads, recipe.train_length) if source is None else source.shape
    chosen = plan(recipe, shape)
    wanted: dict[str, Any] = {
        "recipe": {k: v for k, v in _plain(recipe).items() if k not in FREE_TO_CHANGE},
        "from": None if source is None else source.fingerprint,
        **({} if chosen.code is None else {"code": chosen.code.digest}),
    }
    record = _record(target)
    _refuse_other(target, record, wanted)
    if record.get("finished"):
        say(f"{target} is trained already: {record['attention']}, {record['steps']} steps.")
        return False
    texts = training_texts(recipe)
    threads = torch.get_num_threads()
    try:
        target.mkdir(parents=True, exist_ok=True)
        with FileLock(target / ".lock", timeout=0):
            torch.set_num_threads(recipe.threads or threads)
            _train(recipe, target, source, shape, chosen, texts, wanted, record, say)
    except Timeout:
        raise UserError(f"another process is training into {str(target)!r}") from None
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot write {str(target)!r}: {why}; the same command goes on from the last save") from None
    finally:
        torch.set_num_threads(threads)
    return True


def _train(
    recipe: Recipe, target: Path, source: Checkpoint | None, shape: Shape, chosen: Plan, texts: list[Text],
    wanted: dict[str, Any], record: dict[str, Any], say: Say,
) -> None:  # fmt: skip
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    contents = [text.content for text in texts]
    tokenizer = source.tokenizer if source is not None else make_tokenizer(contents, recipe.wording, recipe.vocab_size)
    data = Data(recipe, tokenizer, texts)
    wanted["data"] = data.digest
    _refuse_other(target, record, wanted)
    hf = new_model(recipe, tokenizer) if source is None else load_model(source, recipe)
    record = {
        **wanted,
        "attention": chosen.label,
        "steps": recipe.steps,
        "texts": [text.name for text in texts],
        "tokens": len(data.tokens),
        "parameters": sum(p.numel() for p in hf.parameters()),
        "command": shlex.join(["ssmax-eval", *sys.argv[1:]]),
        "start": None if source is None else source.label,
        "versions": {
            "ssmax_eval": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
        },
        "threads": torch.get_num_threads(),
    }
    _save_record(target, {**record, "finished": False})
    progress = last_progress(target)
    say(
        f"{target}: {describe(chosen.attention)}, {record['parameters']:,} weights, {len(data.tokens):,} tokens of text"
        + (f", goes on from {progress.name}" if progress else "")
    )

    def keep(step: int, place: Path, finished: bool = True) -> None:
        refuse_broken(hf, step)
        write(hf, tokenizer, chosen, place)
        done = {
            **record,
            "step": step,
            "device": str(trainer.args.device),
            "seconds": trainer.seconds,
            "learned": learned(hf, chosen),
        }
        write_card(place, done, recipe, trainer.rows())
        _save_record(place, {**done, "finished": finished})

    with learning(hf, chosen, shape):
        trainer = LMTrainer(recipe, target, hf, data, lambda step: keep(step, target / f"step-{step}"), say)
        try:
            trainer.go_on(progress)
            keep(recipe.steps, target)
        except UserError as error:
            _save_record(target, {**record, "finished": False, "stopped": str(error)})
            raise
    shutil.rmtree(target / PROGRESS, ignore_errors=True)


def _plain(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON gives it back."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return values


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not os.path.exists(path):
        if folder.exists() and (not folder.is_dir() or any(p.name != ".lock" for p in folder.iterdir())):
            raise UserError(f"{str(folder)!r} holds something else already; give a new folder")
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{str(path)!r} cannot be read: {error}") from None
    if "converted_from" in content:
        raise UserError(f"{str(folder)!r} holds a converted checkpoint; give a new folder")
    return content


def _refuse_other(folder: Path, record: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise UserError when there is a record of another training."""
    if not record:
        return
    there, here = record.get("recipe", {}), wanted["recipe"]
    for name in sorted({*there, *here}):
        if there.get(name) != here.get(name):
            raise UserError(
                f"{str(folder)!r} holds another training: its {name} is {there.get(name)!r}, not {here.get(name)!r}"
            )
    what = {
        "from": "started from another checkpoint",
        "data": "had other texts, or another tokenizer",
        "code": "had other code of its attention",
    }
    for name, difference in what.items():
        if name in wanted and record.get(name) != wanted[name]:
            raise UserError(f"{str(folder)!r} holds another training: it {difference}")


def _save_record(folder: Path, record: dict[str, Any]) -> None:
    write_whole(folder / RECORD, json.dumps(record, indent=2) + "\n")
