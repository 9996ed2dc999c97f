"""`ssmax-eval list`."""

import click


@click.command("list")
def list_() -> None:
    """What there is: checkpoints, attentions, tasks and recipes.

    Example:  ssmax-eval list
    """
    from ssmax_eval import train
    from ssmax_eval.attention import ATTENTIONS
    from ssmax_eval.checkpoint import PACKAGED
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
        (name, f"{TASKS.about(task.kind)}; to {max(task.lengths)} tokens") for name, task in shipped.items()
    ])  # fmt: skip
    table("Recipes (ssmax-eval train NAME, or a YAML file of your own)", [
        (name, f"{r.layers} layers of width {r.width}, {r.train_length} tokens, {r.steps} steps")
        for name, r in ((name, train.load(name, {})) for name in train.recipes())
    ])  # fmt: skip
