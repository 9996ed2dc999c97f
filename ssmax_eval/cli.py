"""The command line: a thin skin. Everything heavy is imported inside the command that needs it."""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ssmax_eval import __version__, options
from ssmax_eval.errors import UserError

if TYPE_CHECKING:
    from ssmax_eval.loader import Checkpoint


class _Commands(click.Group):
    """Says a UserError in one line and exits with 2; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("\nStopped. What is finished is kept; the same command goes on from there.", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Does a checkpoint still find things, and predict well, far beyond its training length?

    Example:  ssmax-eval run smollm2-135m --attention softmax --attention ssmax -o runs
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("ssmax_eval").setLevel(logging.INFO)


@main.command("list")
def list_() -> None:
    """What there is: checkpoints, attentions, tasks and recipes.

    Example:  ssmax-eval list
    """
    from ssmax_eval import train
    from ssmax_eval.attention import ATTENTIONS
    from ssmax_eval.loader import PACKAGED
    from ssmax_eval.tasks import TASKS, load, settings

    def table(title: str, rows: list[tuple[str, str]]) -> None:
        click.echo(f"{title}\n" + "\n".join(f"  {name:<20} {about}" for name, about in rows) + "\n")

    table(
        "Checkpoints (besides hub ids, folders and .gguf files)",
        [(n, f"from {p}") for n, (p, _) in PACKAGED.items()],
    )
    table("Attentions (--attention NAME:parameter=value,...)", [(n, c.about) for n, c in ATTENTIONS.items()])
    shipped = {name: load(name) for name in settings()}
    table("Tasks (--task NAME, or a YAML file of your own)", [
        (name, f"{TASKS[task.kind].about}; to {max(task.lengths)} tokens") for name, task in shipped.items()
    ])  # fmt: skip
    table("Recipes (ssmax-eval train NAME, or a YAML file of your own)", [
        (name, f"{r.layers} layers of width {r.width}, {r.train_length} tokens, {r.steps} steps")
        for name, r in ((name, train.load(name, {})) for name in train.recipes())
    ])  # fmt: skip


@main.command()
@options.run_options
@options.checkpoint_options
def run(
    checkpoint: str, attentions: tuple[str, ...], tasks: tuple[str, ...], lengths: Any, depths: Any, trials: int | None,
    documents: int | None, texts: tuple[str, ...], seed: int | None, no_chat_template: bool, settings: tuple[str, ...],
    max_length: int | None, batch_size: int | None, prefill_chunk: int | None, retry_failed: bool, dry_run: bool,
    output: str, **loading: Any,
) -> None:  # fmt: skip
    """Evaluate CHECKPOINT: a hub id, a folder, a .gguf file, or a packaged name.

    Finished cells are kept in the output folder; the same command goes on where it stopped.

    \b
    Examples:
      ssmax-eval run smollm2-135m --attention softmax --attention ssmax
      ssmax-eval run org/model --task niah --lengths 1024,8192 --depths 0:1:11 --dry-run
    """
    from ssmax_eval import session

    changes = {
        "lengths": lengths, "depths": depths, "trials": trials, "documents": documents, "seed": seed,
        "texts": texts or None, "chat_template": False if no_chat_template else None,
    }  # fmt: skip
    plan = session.plan(
        _checkpoint(checkpoint, loading),
        attentions,
        session.tasks(tasks, {k: v for k, v in changes.items() if v is not None}, settings, max_length),
        output,
        retry_failed=retry_failed,
    )
    if dry_run:
        click.echo(session.forecast(plan))
        return
    session.execute(plan, batch_size=batch_size, prefill_chunk=prefill_chunk)
    click.echo(session.summary(plan))


@main.command()
@options.report_options
def report(runs: tuple[str, ...], output: str, **options: Any) -> None:
    """Draw figures and tables from RUNS (run folders, or folders of runs).

    Example:  ssmax-eval report runs results -o report --style single
    """
    paths = _report(runs, output, **options)
    click.echo("\n".join(str(path) for path in paths if path.suffix in (".html", ".md")))


@main.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--baseline", help="Series that the others are compared with, as the tables name it.")
def compare(runs: tuple[str, ...], baseline: str | None) -> None:
    """Is A better than B? Paired statistics on identical prompts and documents, a sentence each.

    Example:  ssmax-eval compare runs --baseline softmax
    """
    from ssmax_eval.report import sentences
    from ssmax_eval.report.compare import pairs
    from ssmax_eval.store import read_results

    frame = read_results(*runs)
    pairs(frame, baseline)  # says what is wrong with the runs or the baseline
    click.echo("\n".join(sentences(frame, baseline)))


@main.command()
@options.trial_options
def show(run: str, **where: Any) -> None:
    """Show one cell of RUN: the prompt around the needle, the answer, the score, the tokens.

    Example:  ssmax-eval show runs/NAME --cell context_length=512,depth=0.5,trial=0
    """
    from ssmax_eval import trial

    click.echo(trial.show(trial.find(run, **where)))


@main.command()
@options.trial_options
def reconstruct(run: str, **where: Any) -> None:
    """Print the exact prompt of one cell of RUN, byte for byte, up to where the answer begins.

    Example:  ssmax-eval reconstruct runs/NAME --cell context_length=512,depth=0.5,trial=0 > prompt.txt
    """
    from ssmax_eval import trial

    prompt = trial.find(run, **where).prompt()
    click.echo(prompt.text[: prompt.answer_at], nl=False)


@main.command()
@click.argument("checkpoint")
@click.option("--attention", "attentions", multiple=True, help="Attention to try; all of them by default.")
@options.checkpoint_options
def check(checkpoint: str, attentions: tuple[str, ...], **loading: Any) -> None:
    """Load CHECKPOINT and prove, on a few tokens, that its attention can be rewritten.

    Given an attention instead (a name, or file.py:Class), prove that it does what an attention must.

    \b
    Examples:
      ssmax-eval check smollm2-135m --attention lssar:p=3
      ssmax-eval check my_attention.py:Mine
    """
    from ssmax_eval import session
    from ssmax_eval.attention import ATTENTIONS

    name, colon, _ = checkpoint.partition(":")
    if name in ATTENTIONS or (colon and not os.path.exists(checkpoint)):
        lines = session.contract(checkpoint)
    else:
        lines = session.check(_checkpoint(checkpoint, loading), attentions)
    refused = False
    for line, good in lines:
        click.echo(line)
        refused |= not good
    if refused:
        sys.exit(2)


@main.command()
@click.argument("checkpoint")
@click.option("--attention", required=True, help="Attention and parameters to carry, e.g. ssmax:s=0.168.")
@click.option("-o", "--output", required=True, help="New folder for the checkpoint.")
@options.checkpoint_options
def convert(checkpoint: str, attention: str, output: str, **loading: Any) -> None:
    """Copy CHECKPOINT to a folder whose config carries the attention.

    It loads here by itself, and in transformers after `ssmax_eval.register()`.

    Example:  ssmax-eval convert smollm2-135m --attention ssmax:s=0.125 -o smollm2-ssmax
    """
    from ssmax_eval.attention import describe
    from ssmax_eval.loader import convert as write

    click.echo(f"{output} carries {describe(write(_checkpoint(checkpoint, loading), attention, output))}")


@main.command()
@options.train_options
def train(recipe: str, settings: tuple[str, ...], output: str, start: str | None, **changes: Any) -> None:
    """Train a small language model by RECIPE: a shipped name (cpu, gpu_small, gpu) or a YAML file.

    The same command goes on where it stopped; the folder then runs under the attention it was trained with.

    Example:  ssmax-eval train cpu --attention ssmax --text novels -o trained/ssmax
    """
    from ssmax_eval import train as room

    changed = {name: value for name, value in changes.items() if value is not None and (value or name == "learn")}
    room.train(room.load(recipe, changed, settings), output, start)


@main.command()
@click.argument("store")
@click.option("--checkpoints", default="checkpoints", show_default=True, help="Folder of the trained checkpoints.")
@click.option("-o", "--output", default="results", show_default=True, help="Folder for README.md and figures/.")
def claims(store: str, checkpoints: str, output: str) -> None:
    """Hold the papers' claims against STORE, runs of checkpoints trained alike: a table with verdicts, and figures.

    Example:  ssmax-eval claims results/reference --checkpoints checkpoints -o results
    """
    from ssmax_eval.claims import write_claims

    click.echo(write_claims(store, checkpoints, output)[0])


@main.command()
@click.option("-o", "--output", default="demo", show_default=True, help="Folder for the runs and the report.")
def demo(output: str) -> None:
    """Evaluate SmolLM2-135M-Instruct under softmax and SSMax, small, and draw the report (about five minutes).

    Example:  ssmax-eval demo
    """
    from ssmax_eval import session

    chosen = session.tasks(("niah_demo", "loss_demo", "key_attention_demo"), {}, (), None)
    runs = os.path.join(output, "runs")
    plan = session.plan(_checkpoint("smollm2-135m", {}), ("softmax", "ssmax"), chosen, runs)
    session.execute(plan)
    folders = tuple(str(plan.store.root / run.name) for run in plan.runs)
    title = "SmolLM2-135M-Instruct under softmax and SSMax"
    paths = _report(folders, os.path.join(output, "report"), title=title)
    click.echo(session.summary(plan))
    click.echo("\n".join(str(path) for path in paths if path.suffix in (".html", ".md", ".png")))


@main.command()
@options.bench_options
@options.checkpoint_options
def bench(checkpoint: str, output: str, **options: Any) -> None:
    """Time and memory against what a user would run instead, as ratios of interleaved runs.

    Finished comparisons are kept in the output folder; the same command goes on where it stopped.

    Example:  ssmax-eval bench --quick -o bench
    """
    from ssmax_eval import bench as room

    chosen = {name: options.pop(name) for name in ("only", "lengths", "repeats", "quick")}
    text, agree = room.run(_checkpoint(checkpoint, options), output, **chosen)
    click.echo(text)
    if not agree:
        click.echo("Two sides of a comparison that must agree do not; the table says which.", err=True)
        sys.exit(1)


def _report(runs: tuple[str, ...], output: str, **options: Any) -> list[Path]:
    from ssmax_eval.report import write_report
    from ssmax_eval.store import read_results, read_runs

    return write_report(read_results(*runs), output, provenance=read_runs(*runs), **options)


def _checkpoint(name: str, loading: dict[str, Any]) -> "Checkpoint":
    from transformers.utils import logging as transformers_logging

    from ssmax_eval.loader import Checkpoint

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    return Checkpoint(name, **loading)


if __name__ == "__main__":
    main()
