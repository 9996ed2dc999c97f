"""`ssmax-eval calibrate`."""

import shlex
from typing import Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.machine import json_option, print_json, rows
from ssmax_eval.cli.options import checkpoint_of


@click.command()
@click.argument("checkpoint")
@click.option(
    "--lengths",
    required=True,
    callback=options.lengths_option,
    help="Tokens at which stretches of a document end: 1k,4k. The longest decides time and memory.",
)
@click.option("--fit", "names", default="s,b", show_default=True, help="Parameters to fit: s, b or s,b.")
@click.option("--per", default="head", show_default=True, help="What has numbers of its own: head, layer or model.")
@click.option("--steps", default=30, show_default=True, type=int, help="Gradient steps.")
@click.option(
    "--position", default="auto", show_default=True, help="Position map to fit and to measure under, or none."
)
@click.option("--lr", default=0.02, show_default=True, type=float, help="How far a step moves the factor, at most.")
@click.option(
    "--documents",
    default=2,
    show_default=True,
    type=int,
    help="Documents of a step; with --closed-form, documents in all.",
)
@click.option(
    "--closed-form", metavar="STATISTIC", help="No gradients: keep entropy, largest or gaps as at the training length."
)
@click.option("--reference", type=int, help="Tokens at which that statistic is right. Default: the training length.")
@click.option("--text", "texts", multiple=True, help="Text file, folder or JSONL to fit and to measure on. Repeatable.")
@click.option("--held-out", default=8, show_default=True, type=int, help="Documents to measure on, never fitted on.")
@click.option("--held-out-length", type=int, help="Their tokens. Default: the longest of --lengths.")
@click.option("--seed", default=0, show_default=True, type=int, help="Decides the order of the documents.")
@click.option("-o", "--output", default="ssmax.json", show_default=True, help="File for the table.")
@click.option("--runs", default="runs", show_default=True, help="Folder of runs, for the loss before and after.")
@click.option("--prefill-chunk", type=click.IntRange(1), help="Tokens that run at a time while measuring.")
@click.option("--dry-run", is_flag=True, help="Fit and measure nothing; say how much time and memory it takes.")
@options.checkpoint_options
@json_option
@options.quiet_option
def calibrate(
    checkpoint: str, names: str, position: str, output: str, runs: str, prefill_chunk: int | None, dry_run: bool,
    as_json: bool, quiet: bool, lengths: Any, per: str, steps: int, lr: float, documents: int, closed_form: str | None,
    reference: int | None, texts: tuple[str, ...], held_out: int, held_out_length: int | None, seed: int,
    **loading: Any,
) -> None:  # fmt: skip
    """Fit the s and b of SSMax to CHECKPOINT, all other weights as they are, and say whether it helps.

    It starts at s = 0 and b = 1, which is softmax. The loss of held-out documents is measured before and after, as
    ordinary runs. The same command goes on where it stopped. See docs/calibrate.md.

    \b
    Examples:
      ssmax-eval calibrate org/model --lengths 1k,4k,8k --text novels -o ssmax.json
      ssmax-eval calibrate org/model --lengths 8k,16k --position rerope:window=4096 --text novels
      ssmax-eval calibrate org/model --lengths 8k,16k --closed-form entropy --text novels
      ssmax-eval run org/model --attention ssmax:s=ssmax.json,b=ssmax.json
    """  # fmt: skip
    from ssmax_eval.cli.calibrated import as_text, cost, difference, planned, said
    from ssmax_eval.model import resolve_position
    from ssmax_eval.positions import describe
    from ssmax_eval.positions.parsing import NONE
    from ssmax_eval.run.plan import execute
    from ssmax_eval.train.calibration.calibrate import calibrate as fit
    from ssmax_eval.train.calibration.calibrate import place_of, start_of
    from ssmax_eval.train.calibration.settings import Calibration

    say = options.sayer(quiet)
    asked = Calibration(
        lengths=lengths, fit=tuple(filter(None, names.split(","))), per=per, steps=steps, lr=lr, documents=documents,
        closed_form=closed_form, reference=reference, seed=seed, texts=texts, held_out=held_out,
        held_out_length=held_out_length,
    )  # fmt: skip
    source = checkpoint_of(checkpoint, loading)
    before, placed = start_of(source).attention, resolve_position(source, position)
    under = {"position": placed or NONE}
    plan = planned(source, [before], asked, runs, say, **under)  # raises what can be known before the hours of fitting
    if dry_run:
        needed = cost(source, asked, place_of(source, asked, output, position=placed), plan)
        click.echo(needed.text) if not as_json else print_json(needed._asdict())
        return
    after = fit(source, asked, output, say=say, position=placed)
    plan = planned(source, [before, after], asked, runs, say, **under)
    execute(plan, prefill_chunk=prefill_chunk, say=say, progress=not quiet)
    table = difference(plan, asked, source.shape.train_length)
    given, (helps, verdict) = f"ssmax:s={output},b={output}", said(table)
    if as_json:
        content = {"output": output, "attention": given, "runs": list(plan.folders), "helps": helps, "verdict": verdict}
        print_json({**content, "bands": rows(table)})
        return
    click.echo(as_text(table))
    click.echo(verdict)
    say("\nStored in:\n" + "\n".join(f"  {folder}" for folder in plan.folders))
    name = shlex.quote(checkpoint)
    given = shlex.quote(given) + (f" --position {shlex.quote(describe(placed))}" if placed else "")
    say(f"The table: {output}. Use it:\n  ssmax-eval run {name} --attention {given}")
    say(f"  ssmax-eval convert {name} --attention {given} -o converted")
