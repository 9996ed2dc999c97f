"""`ssmax-eval run`."""

from typing import Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.options import checkpoint_of


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
      ssmax-eval run org/model --task niah --lengths 1024,8192 --depths 0:1:11 --dry-run
    """
    from ssmax_eval.run import plan as room

    changes = {
        "lengths": lengths, "depths": depths, "trials": trials, "documents": documents, "seed": seed,
        "texts": texts or None, "chat_template": False if no_chat_template else None,
    }  # fmt: skip
    planned = room.plan(
        checkpoint_of(checkpoint, loading),
        attentions,
        room.tasks(tasks, {k: v for k, v in changes.items() if v is not None}, settings, max_length),
        output,
        retry_failed=retry_failed,
    )
    if dry_run:
        click.echo(room.forecast(planned))
        return
    room.execute(planned, batch_size=batch_size, prefill_chunk=prefill_chunk)
    click.echo(room.summary(planned))
