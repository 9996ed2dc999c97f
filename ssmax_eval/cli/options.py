"""Options that several commands share, and how numbers are written in them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint


def numbers_option(_: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """`1,2,3`, or `first:last:count` for evenly spaced numbers."""
    if text is None:
        return None
    try:
        if ":" in text:
            first, last, count = text.split(":")
            steps = int(count) - 1
            return tuple(
                round(float(first) + (float(last) - float(first)) * i / max(steps, 1), 6) for i in range(steps + 1)
            )
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither numbers with commas nor first:last:count") from None


def lengths_option(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    given = numbers_option(ctx, parameter, text)
    return None if given is None else tuple(round(n) for n in given)


def batch_option(_: click.Context, parameter: click.Parameter, text: str) -> int | None:
    """A whole number from 1, or None for `auto`."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"{text!r} is neither a whole number from 1 nor 'auto'")
    return int(text)


def checkpoint_options(command: Any) -> Any:
    options = [
        click.option("--revision", help="Branch, tag or commit on the hub."),
        click.option("--dtype", default="auto", show_default=True, help="float32, bfloat16, float16, float64 or auto."),
        click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps, ..."),
        click.option("--device-map", help="Spread the model over devices, as transformers does (e.g. auto)."),
        click.option("--rope-theta-scale", default=1.0, show_default=True, help="Factor on the RoPE base."),
        click.option("--rope", help="Scale RoPE: linear:factor=2, dynamic:factor=4 or yarn:factor=4."),
        click.option("--train-length", type=int, help="Training length, where the config does not say."),
        click.option("--trust-remote-code", is_flag=True, help="Run Python code that the checkpoint brings."),
        click.option("--allow-pickle", is_flag=True, help="Load pickle weights, which can run any code."),
    ]
    return _with(command, options)


def run_options(command: Any) -> Any:
    options = [
        click.argument("checkpoint"),
        click.option("--attention", "attentions", multiple=True, default=("auto",), show_default=True,
                     help="Attention and parameters, e.g. ssmax:s=0.168; auto: as trained; repeatable."),
        click.option("--task", "tasks", multiple=True, default=("niah", "loss", "key_attention"), show_default=True,
                     help="Task by name, or a YAML file; repeatable."),
        click.option("--lengths", callback=lengths_option, help="Context lengths in tokens: 512,1024 or 1000:8000:8."),
        click.option("--depths", callback=numbers_option, help="Needle depths: 0,0.5,1 or 0:1:5."),
        click.option("--trials", type=int, help="Repetitions of each length and depth."),
        click.option("--documents", type=int, help="Documents of each length."),
        click.option("--text", "texts", multiple=True, help="Text file, folder or JSONL to measure on; repeatable."),
        click.option("--seed", type=int, help="Decides every random draw."),
        click.option("--no-chat-template", is_flag=True,
                     help="Plain prompts, even where the tokenizer has a chat template."),
        click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE",
                     help="Change any field of a task; repeatable."),
        click.option("--max-length", type=int, help="Leave out context lengths beyond this."),
        click.option("--batch-size", callback=batch_option, default="auto", show_default=True,
                     help="Cells measured together."),
        click.option("--prefill-chunk", type=click.IntRange(1),
                     help="Tokens that run through the layers at a time; bounds memory."),
        click.option("--retry-failed", is_flag=True, help="Measure failed cells again."),
        click.option("--dry-run", is_flag=True, help="Say what would be measured, and about how long it takes."),
        click.option("-o", "--output", default="runs", show_default=True, help="Folder of runs."),
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
        click.option("--baseline", help="Series that the others are compared with, as the tables name it."),
    ]
    return _with(command, options)


def trial_options(command: Any) -> Any:
    options = [
        click.argument("run"),
        click.option("--cell", required=True, help="As in context_length=512,depth=0.5,trial=0."),
        click.option("--checkpoint", help="Where the checkpoint is, if no longer where it was."),
        click.option("--text", "texts", multiple=True, help="Likewise the text."),
    ]
    return _with(command, options)


def train_options(command: Any) -> Any:
    options = [
        click.argument("recipe"),
        click.option("--attention", help="Attention to train with, e.g. ssmax or lssar:p=15."),
        click.option("--learn", callback=_names, help="Its parameters to learn: s or s,b; none; auto: as the paper."),
        click.option("--from", "start", metavar="CHECKPOINT", help="Go on from a checkpoint, instead of from scratch."),
        click.option("--text", "texts", multiple=True, help="Text file or folder to train on; repeatable."),
        click.option("--seed", type=int, help="Decides the initial weights and the data."),
        click.option("--threads", type=click.IntRange(1), help="Processor threads."),
        click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change any field; repeatable."),
        click.option("-o", "--output", required=True, help="Folder for the checkpoint."),
    ]
    return _with(command, options)


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
    """The checkpoint that a command was given, with its loading options."""
    from transformers.utils import logging as transformers_logging

    from ssmax_eval.checkpoint import Checkpoint

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    return Checkpoint(name, **loading)
