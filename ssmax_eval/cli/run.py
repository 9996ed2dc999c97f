"""`ssmax-eval run`."""

import shlex
from typing import TYPE_CHECKING, Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.forecast import print_forecast
from ssmax_eval.cli.machine import json_option, print_json, rows
from ssmax_eval.cli.options import checkpoint_of

if TYPE_CHECKING:
    from ssmax_eval.run.plan import Plan


@click.command()
@options.run_options
@options.checkpoint_options
@json_option
@options.quiet_option
@click.pass_context
def run(ctx: click.Context, /, config: str | None, **given: Any) -> None:
    """Evaluate CHECKPOINT: a hub id, a folder, a .gguf file, or a packaged name.

    Finished cells are kept in the output folder; the same command goes on where it stopped.

    \b
    Examples:
      ssmax-eval run smollm2-135m --attention softmax --attention ssmax
      ssmax-eval run org/model --task niah,loss --lengths 1k,8k --depths 0:1:11 --dry-run
      ssmax-eval run org/model --task my_task.py:Mine --lengths 1k
      ssmax-eval run org/model --suite ruler --lengths 4k,8k --trials 20
      ssmax-eval run --config experiment.yaml --json --quiet
    """
    from ssmax_eval.cli.experiment import chosen

    _run(**chosen(ctx, given, config))


def _run(
    checkpoint: str, attentions: tuple[str, ...], positions: tuple[str, ...], tasks: tuple[str, ...],
    lengths: Any, depths: Any, trials: int | None, documents: int | None, texts: tuple[str, ...], seed: int | None,
    no_chat_template: bool, settings: dict[str, Any], max_length: int | None, batch_size: int | None,
    prefill_chunk: int | None, retry_failed: bool, shard: str | None, dry_run: bool, output: str, as_json: bool,
    quiet: bool, **loading: Any,
) -> None:  # fmt: skip
    from ssmax_eval.run.evaluate import prepare
    from ssmax_eval.run.plan import execute, nothing_yet, state_of_shards, summary
    from ssmax_eval.suites import is_own

    say = options.sayer(quiet)
    planned = prepare(
        checkpoint_of(checkpoint, loading), attentions, tasks, output,
        position=positions, lengths=lengths, depths=depths, trials=trials, documents=documents, texts=texts, seed=seed,
        chat_template=False if no_chat_template else None, settings=settings, max_length=max_length,
        retry_failed=retry_failed, shard=shard, say=say,
    )  # fmt: skip
    if dry_run:
        print_forecast(planned, as_json)
        return
    own = [name for name in tasks if isinstance(name, str) and is_own(name)]
    execute(planned, batch_size=batch_size, prefill_chunk=prefill_chunk, say=say, progress=not quiet)
    try:
        if as_json:
            print_json({"output": output, **_results(planned)})
        elif not (planned.shard and nothing_yet(planned)):
            click.echo(summary(planned, own))
    finally:  # also where every cell has failed, so that there is nothing to sum up
        if planned.shard:
            say(f"\n{state_of_shards(planned)}")
        say("\nStored in:\n" + "\n".join(f"  {folder}" for folder in planned.folders))
        too = "".join(f" --suite {shlex.quote(name)}" for name in own)
        say(f"Next: ssmax-eval report {shlex.quote(output)}{too} -o report")


def _results(planned: "Plan") -> dict[str, Any]:
    """What was measured: how far each run is, and every headline number of those that are."""
    from ssmax_eval.report.summary import measures
    from ssmax_eval.run.listing import planned_runs
    from ssmax_eval.run.plan import results

    frame = results(planned)
    measured = "status" in frame and (frame["status"] == "ok").any()
    return {
        "runs": [one._asdict() for one in planned_runs(planned)],
        "results": rows(measures(frame).rename(columns={"measure": "quantity"})) if measured else [],
    }
