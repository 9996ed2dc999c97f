"""Options that several commands share, and how numbers are written in them."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from ssmax_eval.errors import harmless, shown

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint


MOST_NUMBERS = 100_000
"""Numbers that first:last:count may ask for."""
DIGITS = 18
"""Digits of the largest whole number that an option takes."""


def numbers_option(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """`1,2,3`, `1k,4k` (k = 1024), or `first:last:count` for evenly spaced numbers."""
    if text is None:
        return None
    try:
        if ":" in text:
            first, last, count = text.split(":")
            start, stop, steps = _number(first), _number(last), int(count) - 1
            if not 0 <= steps < MOST_NUMBERS:
                raise click.BadParameter(f"{shown(text)} must ask for 1 to {MOST_NUMBERS:,} numbers")
            return tuple(round(start + (stop - start) * i / max(steps, 1), 6) for i in range(steps + 1))
        return tuple(map(_number, text.split(",")))
    except ValueError:
        raise click.BadParameter(f"{shown(text)} is neither numbers between commas nor first:last:count") from None


def _number(text: str) -> float:
    """A finite number, `k` after it for 1024. ValueError for anything else."""
    digits = text.strip().lower()
    number = float(digits.removesuffix("k")) * (1024 if digits.endswith("k") else 1)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def lengths_option(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Like `numbers_option`, in whole numbers."""
    given = numbers_option(ctx, parameter, text)
    return None if given is None else tuple(round(n) for n in given)


def names_option(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Names, each option with one or several between commas: `--task niah,loss`."""
    return tuple(name for text in given for name in ([text] if os.path.exists(text) else text.split(",")) if name)


def batch_option(_: click.Context, parameter: click.Parameter, text: str) -> int | None:
    """A whole number from 1, or None for `auto`."""
    if text == "auto":
        return None
    if not text.isdecimal() or len(text) > DIGITS or int(text) < 1:
        raise click.BadParameter(f"{shown(text)} is neither a whole number from 1 nor 'auto'")
    return int(text)


baseline_option = click.option(
    "--baseline", help="Attention (softmax) or series, as the tables name it, that the others are compared with."
)


attention_option = click.option(
    "--attention", "attentions", multiple=True, default=("auto",), show_default=True,
    help="Attention and parameters, as in ssmax:s=0.168; auto: as trained; none: the model as it is. Repeatable.",
)  # fmt: skip
position_option = click.option(
    "--position", "positions", multiple=True, default=("auto",), show_default=True,
    help="Position map and parameters, as in rerope:window=4096; none: as in the model; auto: as its config says. "
         "Repeatable.",
)  # fmt: skip
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Measure nothing; say what is missing and how long it takes."
)
runs_option = click.option("-o", "--output", default="runs", show_default=True, help="Folder of runs.")
quiet_option = click.option("--quiet", is_flag=True, help="Say nothing but the result, warnings and mistakes.")


def checkpoint_argument(ctx: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    """The checkpoint, which only a file given with --config makes needless."""
    if given is None and not ctx.params.get("config"):
        raise click.MissingParameter(ctx=ctx, param=parameter, param_hint="'CHECKPOINT'")
    return given


def checkpoint_options(command: Any) -> Any:
    options = [
        click.option("--revision", help="Branch, tag or commit on the hub."),
        click.option("--dtype", default="auto", show_default=True, help="float32, bfloat16, float16, float64 or auto."),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps, ..."),
        click.option("--device-map", help="Spread the model over devices, as transformers does (e.g. auto)."),
        click.option("--rope-theta-scale", default=1.0, show_default=True, help="Factor on the RoPE base."),
        click.option(
            "--rope",
            help="Scale RoPE: linear:factor=2, dynamic:factor=4, yarn:factor=4 or longrope:factor=4,file=lists.json.",
        ),
        click.option("--train-length", type=int, help="Training length in tokens, where the config does not give it."),
        click.option("--trust-remote-code", is_flag=True, help="Run Python code that comes with the checkpoint."),
        click.option("--allow-pickle", is_flag=True, help="Load pickle weights, which can run any code."),
    ]
    return _with(command, options)


def run_options(command: Any) -> Any:
    options = [
        click.option("--config", is_eager=True, metavar="FILE",
                     help="YAML file with any of these options; those typed here win (see docs/scripts.md)."),
        click.argument("checkpoint", required=False, callback=checkpoint_argument),
        attention_option,
        position_option,
        click.option("--task", "--suite", "tasks", multiple=True, default=("niah", "loss", "key_attention"),
                     show_default=True, callback=names_option,
                     help="Tasks: niah,loss; a suite: ruler; a YAML file of either; or my_task.py:Class. Repeatable."),
        click.option("--lengths", callback=lengths_option, help="Context lengths in tokens: 512,1k,4k or 1000:8000:8."),
        click.option("--depths", callback=numbers_option, help="Needle depths: 0,0.5,1 or 0:1:5."),
        click.option("--trials", type=int, help="Repetitions of each length and depth."),
        click.option("--documents", type=int, help="Documents of each length."),
        click.option("--text", "texts", multiple=True, help="Text file, folder or JSONL to measure on. Repeatable."),
        click.option("--seed", type=int, help="Decides every random draw."),
        click.option("--no-chat-template", is_flag=True,
                     help="Plain prompts, even where the tokenizer has a chat template."),
        click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE",
                     help="Change any field of a task (see `ssmax-eval list --verbose`). Repeatable."),
        click.option("--max-length", type=int, help="Leave out context lengths beyond this many tokens."),
        click.option("--batch-size", callback=batch_option, default="auto", show_default=True,
                     help="Cells measured together, or auto."),
        click.option("--prefill-chunk", type=click.IntRange(1),
                     help="Tokens that run through the layers at a time. Fewer need less memory."),
        click.option("--retry-failed", is_flag=True, help="Measure failed cells again."),
        click.option("--shard", metavar="K/N",
                     help="Measure one part of the cells, as 3/16; auto: as Slurm or torchrun numbers this process."),
        dry_run_option,
        runs_option,
    ]  # fmt: skip
    return _with(command, options)


def harness_options(command: Any) -> Any:
    options = [
        click.argument("checkpoint"),
        attention_option,
        position_option,
        click.option("--tasks", "names", multiple=True, required=True, callback=names_option,
                     help="Tasks, groups, tags or patterns of the harness, or task files: arc_easy,mmlu. Repeatable."),
        click.option("--num-fewshot", type=click.IntRange(0), help="Solved examples before each question."),
        click.option("--limit", type=click.IntRange(1), help="Documents of each task, from the first. Default: all."),
        click.option("--include-path", default="", metavar="FOLDER", help="Folder with task files of your own."),
        click.option("--apply-chat-template", is_flag=True, help="Put prompts into the tokenizer's chat template."),
        click.option("--max-length", type=click.IntRange(2), metavar="TOKENS",
                     help="Tokens that the model may see. Default: as its config says."),
        click.option("--seed", default=1234, show_default=True, help="Draws the solved examples."),
        click.option("--batch-size", callback=batch_option, default="auto", show_default=True,
                     help="Requests that run together, or auto."),
        click.option("--retry-failed", is_flag=True, help="Measure failed documents again."),
        dry_run_option,
        runs_option,
    ]  # fmt: skip
    return _with(command, options)


def report_options(command: Any) -> Any:
    options = [
        click.argument("runs", nargs=-1, required=True),
        click.option("-o", "--output", default="report", show_default=True, help="Folder for the report."),
        click.option("--title", default="Long-context evaluation", show_default=True, help="Heading of the pages."),
        click.option(
            "--style", default="double", show_default=True, help="Figures for single or double columns, or slides."
        ),
        baseline_option,
    ]
    return _with(command, options)


def cell_options(command: Any, *, required: bool) -> Any:
    cell = "The cell, as in context_length=512,depth=0.5,trial=0."
    options = [
        click.argument("run"),
        click.option("--cell", required=required, help=cell if required else f"{cell} Without it, all are listed."),
        click.option("--checkpoint", help="The checkpoint, where it has moved since."),
        click.option("--text", "texts", multiple=True, help="The text, where it has moved since. Repeatable."),
        click.option("--task", help="The class of your own task, where it has moved since."),
    ]
    return _with(command, options)


def train_options(command: Any) -> Any:
    options = [
        click.argument("recipe"),
        click.option("--attention", help="Attention to train with, e.g. ssmax or lssar:p=15."),
        click.option(
            "--learn",
            callback=_names,
            help="Parameters to learn: s or s,b; none; auto: as in the paper.",
        ),
        click.option("--from", "start", metavar="CHECKPOINT", help="Start from these weights, not from random ones."),
        click.option("--trust-remote-code", is_flag=True, help="Run Python code that this checkpoint brings."),
        click.option("--text", "texts", multiple=True, help="Text file or folder to train on. Repeatable."),
        click.option("--seed", type=int, help="Decides the initial weights and the data."),
        click.option("--threads", type=click.IntRange(1), help="Processor threads."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="FIELD=VALUE",
            help="Change a field of the recipe. Repeatable.",
        ),
        click.option("-o", "--output", required=True, help="Folder for the checkpoint."),
    ]
    return _with(command, options)


def to_stderr(line: str) -> None:
    """Print a line that is no result."""
    click.echo(harmless(line), err=True)


def sayer(quiet: bool) -> Callable[[str], None]:
    """Return what says lines that are no result; with `quiet` nothing, and of the log only warnings."""
    if not quiet:
        return to_stderr
    logging.getLogger("ssmax_eval").setLevel(logging.WARNING)
    return lambda _: None


def _names(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return () if text == "none" else tuple(text.split(","))


def _with(command: Any, options: Sequence[Any]) -> Any:
    """The command with these options, in the order in which its help shows them."""
    for option in reversed(options):
        command = option(command)
    return command


def checkpoint_of(name: str, loading: dict[str, Any]) -> "Checkpoint":
    """Return the checkpoint that a command was given, with its loading options."""
    from transformers.utils import logging as transformers_logging

    from ssmax_eval.checkpoint import Checkpoint

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    return Checkpoint(name, **loading)
