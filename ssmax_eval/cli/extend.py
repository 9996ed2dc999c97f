"""`ssmax-eval extend`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.machine import json_option, print_json
from ssmax_eval.cli.options import checkpoint_of
from ssmax_eval.cli.table import aligned

if TYPE_CHECKING:
    from ssmax_eval.extend.extend import Outcome
    from ssmax_eval.extend.page import Commands
    from ssmax_eval.extend.table import Row


@click.command()
@click.argument("checkpoint")
@click.option(
    "--to",
    "lengths",
    required=True,
    callback=options.lengths_option,
    help="Tokens that the checkpoint is to read: 32768 or 32k.",
)
@click.option(
    "--candidate",
    "own",
    multiple=True,
    metavar="position=…,attention=…,rope=…",
    help="Try this as well: any of these, and rope_theta_scale=…, as the options take them. Repeatable.",
)
@click.option("--only-candidates", "only", is_flag=True, help="Try those of --candidate alone.")
@click.option(
    "--calibrate",
    "way",
    default="closed-form",
    show_default=True,
    help="How s and b of SSMax are fitted to the best: closed-form, gradient or none.",
)
@click.option("--budget", metavar="TIME", help="Time for measuring and fitting, in all: 45min, 2h. Default: no limit.")
@click.option("--text", "texts", multiple=True, help="Text file, folder or JSONL to measure on. Repeatable.")
@click.option("--documents", default=12, show_default=True, type=int, help="Documents that finalists are measured on.")
@click.option("--trials", default=12, show_default=True, type=int, help="Trials of needles, likewise, at each length.")
@click.option(
    "--needles",
    metavar="TASK",
    help="niah_dense, or niah: one needle in a text, which takes longer. Default: niah_dense, and niah for "
    "checkpoints that were trained on such needles here.",
)
@click.option("--seed", default=0, show_default=True, type=int, help="Decides every random draw.")
@click.option("--no-chat-template", is_flag=True, help="Plain prompts, even where the tokenizer has a chat template.")
@click.option("--no-convert", is_flag=True, help="Write no converted folder.")
@options.dry_run_option
@options.runs_option
@click.option(
    "--page",
    "folder",
    default="extend",
    show_default=True,
    help="Folder for the page, its figure, tables of s and b, and the converted checkpoint.",
)
@options.checkpoint_options
@json_option
@options.quiet_option
def extend(
    checkpoint: str, lengths: tuple[int, ...], own: tuple[str, ...], only: bool, way: str, budget: str | None,
    texts: tuple[str, ...], documents: int, trials: int, needles: str | None, seed: int, no_chat_template: bool,
    no_convert: bool, dry_run: bool, output: str, folder: str, as_json: bool, quiet: bool, **loading: Any,
) -> None:  # fmt: skip
    """Find what lets CHECKPOINT read contexts beyond its training length, and what that costs.

    Position maps, attentions and changes of RoPE are tried, cheapest measurement first; the losers are dropped, SSMax
    is calibrated on the best, and the finalists are measured properly. Finished cells are kept; the same command goes
    on where it stopped. See docs/extend.md.

    \b
    Examples:
      ssmax-eval extend smollm2-135m --to 16k --text novels --budget 2h
      ssmax-eval extend smollm2-135m --to 16k --dry-run
      ssmax-eval extend org/model --to 32k --candidate position=rerope:window=2048,attention=logn
    """
    from ssmax_eval.extend.budget import Budget, duration_of
    from ssmax_eval.extend.calibrated import way as way_of
    from ssmax_eval.extend.candidates import Candidate, candidates, distinct
    from ssmax_eval.extend.candidates import own as own_candidate
    from ssmax_eval.extend.extend import Extension
    from ssmax_eval.extend.forecast import forecast, said
    from ssmax_eval.extend.page import commands, converted, write_page
    from ssmax_eval.extend.rungs import Asked
    from ssmax_eval.extend.table import HEAD, cells, rows
    from ssmax_eval.tasks.trained import words_of

    if len(lengths) != 1:
        raise click.BadParameter("one length is asked for", param_hint="'--to'")
    if only and not own:
        raise click.UsageError("--only-candidates needs a --candidate")
    say, limit, how = options.sayer(quiet), None if budget is None else duration_of(budget), way_of(way)
    source = checkpoint_of(checkpoint, loading)
    default = candidates(source, lengths[0])
    tried = distinct([Candidate(), *([] if only else default), *(own_candidate(text, source) for text in own)])
    words = words_of(source.folder)
    plain = {"chat_template": False} if no_chat_template or words else {}
    asked = Asked(
        to=lengths[0], trained=source.shape.train_length, texts=texts, documents=documents, trials=trials, seed=seed,
        needles=needles or ("niah" if words else "niah_dense"), words={**words, **plain},
    )  # fmt: skip
    place = Path(folder)
    extension = Extension(source, asked, output, place, how, Budget(source, limit), say, not quiet)
    if dry_run:
        rungs = forecast(extension, tried)
        if as_json:
            print_json({"candidates": [one.name for one in tried], "rungs": [one._asdict() for one in rungs]})
        else:
            click.echo(said(rungs, tried, limit))
        return
    outcome = extension.run(tried)
    typed = commands(outcome, source, output, place)
    told = ["" if typed is None else f"```sh\n{typed.run}\n{typed.convert}\n```"]
    if typed is not None and not no_convert:
        told.append(converted(outcome, source, place))
    found = rows(outcome)
    written = write_page(outcome, found, told, place)
    if as_json:
        print_json(_as_json(outcome, found, typed, written))
        return
    click.echo(aligned([HEAD, *map(cells, found)]))
    click.echo(f"\n{outcome.verdict.sentence}")
    if typed is not None:
        click.echo(f"\n  {typed.run}\n  {typed.convert}")
    click.echo("\n".join(told[1:]))
    say("\nWritten:\n" + "\n".join(f"  {path}" for path in written))


def _as_json(outcome: "Outcome", found: "list[Row]", typed: "Commands | None", written: list[Path]) -> dict[str, Any]:
    return {
        "recommended": outcome.verdict.name,
        "sentence": outcome.verdict.sentence,
        "commands": None if typed is None else typed._asdict(),
        "candidates": [
            {
                "name": row.name,
                "finalist": row.finalist,
                "far": row.far._asdict(),
                "short": None if row.finding is None else row.finding.short._asdict(),
                "needles": None if row.finding is None else row.finding.needles._asdict(),
                "effective_length": row.effective,
                "time_per_token": row.time,
            }
            for row in found
        ],
        "rungs": [
            {"rung": step.rung.title, "measured": step.measured, "kept": step.kept, "dropped": step.dropped}
            for step in outcome.steps
        ],
        "left_out": outcome.left_out,
        "seconds": outcome.seconds,
        "runs": outcome.folders,
        "files": [str(path) for path in written],
    }
