"""Evaluate a checkpoint from Python; the command line is a skin over the same functions."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from ssmax_eval.attention import Attention
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.positions import PositionMap
from ssmax_eval.run.choosing import Say, choose, log
from ssmax_eval.run.plan import Plan, execute, plan, results
from ssmax_eval.run.shards import Shard, parse
from ssmax_eval.tasks import Task
from ssmax_eval.tasks.trained import advice

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("niah", "loss", "key_attention")
"""What is measured where nothing else is asked for."""


def evaluate(
    checkpoint: str | Checkpoint,
    attention: str | Attention | Sequence[str | Attention] = "auto",
    tasks: str | Task | type[Task] | Sequence[str | Task | type[Task]] = TASKS,
    output: str | PathLike[str] = "runs",
    *,
    position: str | PositionMap | Sequence[str | PositionMap] = "auto",
    batch_size: int | None = None,
    prefill_chunk: int | None = None,
    progress: bool = True,
    say: Say = log.info,
    **options: Any,
) -> "pd.DataFrame":
    """Measure tasks on a checkpoint under attentions, and return the measurements as one tidy DataFrame.

    Finished cells are kept in the folder `output`; the same call goes on where it stopped.

    Args:
        checkpoint: a hub id, a folder, a .gguf file or a packaged name; or a `Checkpoint`.
        attention: one or several, as "ssmax:s=0.168", "my_attention.py:Mine" or an `Attention`; "auto": as trained.
        tasks: one or several, as a name, the path of a YAML file, "my_task.py:Mine", a class or a `Task`; or a suite
            by its name or file, such as "ruler", which stands for its tasks.
        output: folder of runs.
        position: one or several position maps, as "rerope:window=4096", "my_map.py:Mine" or a `PositionMap`; "none" for
            the model's own positions; "auto": what the checkpoint's config names.
        batch_size: cells measured together; None chooses it for each context length.
        prefill_chunk: tokens that run through the layers at a time; bounds memory. None: all.
        progress: show a bar in a terminal and in a notebook; elsewhere, `say` a line now and then.
        say: called with each line that a person may want to read; by default they go to logging.
        **options: what `prepare` takes besides: lengths, depths, trials, documents, texts, seed, chat_template,
            settings, max_length, retry_failed, shard, and how the checkpoint is loaded (dtype, device, rope, ...).

    Raises:
        UserError: for anything that the caller can mend, in one line.

    Example:
        >>> frame = ssmax_eval.evaluate("smollm2-135m", ["softmax", "ssmax"], ["niah", "loss"], lengths=[1024, 4096])
        >>> frame[frame.task == "niah"].groupby(["attention", "context_length"]).score.mean()
    """
    planned = prepare(checkpoint, attention, tasks, output, position=position, say=say, **options)
    if prefill_chunk is not None and prefill_chunk < 1:
        raise UserError(f"prefill_chunk must be 1 or more; got {prefill_chunk}")
    if batch_size is not None and batch_size < 1:
        raise UserError(f"batch_size must be 1 or more; got {batch_size}")
    execute(planned, batch_size=batch_size, prefill_chunk=prefill_chunk, say=say, progress=progress)
    return results(planned)


def prepare(
    checkpoint: str | Checkpoint,
    attention: str | Attention | Sequence[str | Attention] = "auto",
    tasks: str | Task | type[Task] | Sequence[str | Task | type[Task]] = TASKS,
    output: str | PathLike[str] = "runs",
    *,
    position: str | PositionMap | Sequence[str | PositionMap] = "auto",
    lengths: Sequence[int] | None = None,
    depths: Sequence[float] | None = None,
    trials: int | None = None,
    documents: int | None = None,
    texts: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
    seed: int | None = None,
    chat_template: bool | None = None,
    settings: Mapping[str, Any] | None = None,
    max_length: int | None = None,
    retry_failed: bool = False,
    shard: str | Shard | None = None,
    say: Say = log.info,
    **loading: Any,
) -> Plan:
    """Return the plan of an evaluation: every run, and which of its cells are still to be measured.

    Nothing is loaded and nothing is written; `ssmax_eval.run.forecast.forecasts` says what the plan would cost.

    Args:
        checkpoint, attention, tasks, output, position: as in `evaluate`.
        lengths: context lengths in tokens.
        depths: depths of the needle, from 0 (start) to 1 (end).
        trials: repetitions of each length and depth.
        documents: documents of each length.
        texts: text files, folders or JSONL to measure on.
        seed: decides every random draw.
        chat_template: False for plain prompts, even where the tokenizer has a chat template.
        settings: any other fields of the tasks, by name.
        max_length: leave out context lengths beyond this.
        retry_failed: measure failed cells again.
        shard: measure one part of the cells: "3/16" for the third of sixteen, "auto" where Slurm or torchrun numbers
            the processes. Several processes share an evaluation so; each has the same arguments besides.
        say: as in `evaluate`.
        **loading: fields of `Checkpoint`: revision, dtype, device, device_map, rope_theta_scale, rope, train_length,
            trust_remote_code, allow_pickle.
    """
    fields = {
        "lengths": lengths, "depths": depths, "trials": trials, "documents": documents, "seed": seed,
        "texts": None if texts is None else [str(text) for text in _several(texts, (str, PathLike))] or None,
        "chat_template": chat_template,
    }  # fmt: skip
    changes = {name: value for name, value in fields.items() if value is not None} | dict(settings or {})
    chosen = choose(_several(tasks, (str, Task, type)), changes, max_length, say)
    if isinstance(checkpoint, str):
        checkpoint = _checkpoint(checkpoint, loading)
    elif loading:
        raise UserError(f"{sorted(loading)[0]!r} is given with the Checkpoint itself, not beside it")
    attentions = _several(attention, (str, Attention))
    if shard is not None and not isinstance(shard, Shard):
        shard = parse(str(shard))
    positions = _several(position, (str, PositionMap))
    planned = plan(
        checkpoint, attentions, chosen, output, positions=positions, retry_failed=retry_failed, shard=shard, say=say
    )
    if line := advice(checkpoint.name, checkpoint.label, checkpoint.folder, chosen):
        say(line)
    return planned


def _checkpoint(name: str, loading: Mapping[str, Any]) -> Checkpoint:
    try:
        return Checkpoint(name, **loading)
    except TypeError as error:
        raise UserError(f"unknown option: {str(error).partition('argument ')[2] or error}") from None


def _several(given: Any, one: tuple[type, ...]) -> list[Any]:
    """A list of what was given, which may be one thing or several."""
    return [given] if isinstance(given, one) else list(given)
