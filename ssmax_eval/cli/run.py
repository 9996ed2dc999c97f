"""`ssmax-eval run`."""

import shlex
from typing import Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.options import checkpoint_of, to_stderr


@click.command()
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
      ssmax-eval run org/model --task niah,loss --lengths 1k,8k --depths 0:1:11 --dry-run
      ssmax-eval run org/model --task my_task.py:Mine --lengths 1k
    """
    from ssmax_eval.run.evaluate import prepare
    from ssmax_eval.run.forecast import forecast
    from ssmax_eval.run.plan import execute, summary
    from ssmax_eval.settings import assignments

    planned = prepare(
        checkpoint_of(checkpoint, loading), attentions, tasks, output,
        lengths=lengths, depths=depths, trials=trials, documents=documents, texts=texts, seed=seed,
        chat_template=False if no_chat_template else None, settings=assignments(settings), max_length=max_length,
        retry_failed=retry_failed, say=to_stderr,
    )  # fmt: skip
    if dry_run:
        click.echo(forecast(planned))
        return
    execute(planned, batch_size=batch_size, prefill_chunk=prefill_chunk, say=to_stderr)
    click.echo(summary(planned))
    to_stderr("\nStored in:\n" + "\n".join(f"  {folder}" for folder in planned.folders))
    to_stderr(f"Next: ssmax-eval report {shlex.quote(output)} -o report")
