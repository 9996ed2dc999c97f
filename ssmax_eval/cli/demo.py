"""`ssmax-eval demo`."""

import os

import click

from ssmax_eval.cli.options import checkpoint_of


@click.command()
@click.option("-o", "--output", default="demo", show_default=True, help="Folder for the runs and the report.")
def demo(output: str) -> None:
    """Evaluate SmolLM2-135M-Instruct under softmax and SSMax, small, and draw the report (about five minutes).

    Example:  ssmax-eval demo
    """
    import ssmax_eval
    from ssmax_eval.run import plan as room

    chosen = room.tasks(("niah_demo", "loss_demo", "key_attention_demo"), {}, (), None)
    runs = os.path.join(output, "runs")
    planned = room.plan(checkpoint_of("smollm2-135m", {}), ("softmax", "ssmax"), chosen, runs)
    room.execute(planned)
    folders = tuple(str(planned.store.root / run.name) for run in planned.runs)
    title = "SmolLM2-135M-Instruct under softmax and SSMax"
    paths = ssmax_eval.report(folders, os.path.join(output, "report"), title=title)
    click.echo(room.summary(planned))
    click.echo("\n".join(str(path) for path in paths if path.suffix in (".html", ".md", ".png")))
