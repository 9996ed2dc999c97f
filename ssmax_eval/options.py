"""Options that several commands share, and how numbers are written in them."""

from typing import Any

import click


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
    for option in reversed(options):
        command = option(command)
    return command


prefill_option = click.option(
    "--prefill-chunk", type=click.IntRange(1), help="Tokens that run through the layers at a time; bounds memory."
)


def trial_options(command: Any) -> Any:
    options = [
        click.argument("run"),
        click.option("--cell", required=True, help="As in context_length=512,depth=0.5,trial=0."),
        click.option("--checkpoint", help="Where the checkpoint is, if no longer where it was."),
        click.option("--text", "texts", multiple=True, help="Likewise the text."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def bench_options(command: Any) -> Any:
    options = [
        click.argument("checkpoint", default="smollm2-135m"),
        click.option("--only", help="Sections: attention,needle,loss,key,memory,harness,rate; all by default."),
        click.option("--lengths", callback=lengths_option, help="Context lengths; models run to 4096 at most."),
        click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Rounds of a comparison."),
        click.option("--quick", is_flag=True, help="Short lengths, one round."),
        click.option("-o", "--output", default="results/bench", show_default=True, help="Folder for what is found."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
