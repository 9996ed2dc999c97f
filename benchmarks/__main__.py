"""`python -m benchmarks`."""

import sys
from typing import Any

import click

from ssmax_eval.cli import options
from ssmax_eval.cli.one_line import Command
from ssmax_eval.cli.options import checkpoint_of, lengths_option


@click.command(cls=Command)
@click.argument("checkpoint", default="smollm2-135m")
@click.option(
    "--only", help="Sections, all by default: attention,positions,needle,complete,loss,key,memory,harness,rate."
)
@click.option("--lengths", callback=lengths_option, help="Context lengths; models run to 4096 at most.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Rounds of a comparison.")
@click.option("--quick", is_flag=True, help="Short lengths, one round.")
@click.option("--redraw", is_flag=True, help="Write table and figures of a stored bench again; measure nothing.")
@click.option("-o", "--output", default="results/bench", show_default=True, help="Folder for what is found.")
@options.checkpoint_options
def main(checkpoint: str, output: str, redraw: bool, **loading: Any) -> None:
    """Measure time and memory against what a user would run instead.

    Every number is ours as a fraction of the other: 0.59× is faster, 1.2× slower. Finished comparisons are kept in the
    output folder; the same command goes on where it stopped.

    Example:  python -m benchmarks --quick -o bench
    """
    import benchmarks as room

    if redraw:
        click.echo(room.redraw(output))
        return
    chosen = {name: loading.pop(name) for name in ("only", "lengths", "repeats", "quick")}
    text, agree = room.run(checkpoint_of(checkpoint, loading), output, **chosen)
    click.echo(text)
    if not agree:
        click.echo("Two sides of a comparison that must agree do not; the table says which.", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
