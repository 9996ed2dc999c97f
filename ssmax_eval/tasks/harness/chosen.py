"""Benchmarks by name, as tasks that can be measured on a checkpoint."""

import re
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from ssmax_eval.errors import UserError
from ssmax_eval.model.harness import longest_input, refuse_tokenizer
from ssmax_eval.tasks.harness.benchmark import Wording, benchmark
from ssmax_eval.tasks.harness.metrics import metrics_of
from ssmax_eval.tasks.harness.names import SEED, loaded, matching
from ssmax_eval.tasks.harness.task import Harness

if TYPE_CHECKING:
    from ssmax_eval.checkpoint import Checkpoint

LONGEST_NAME = 60
"""Characters of a benchmark's name in results."""


def harness_tasks(
    names: Sequence[str],
    checkpoint: "Checkpoint",
    *,
    shots: int | None = None,
    limit: int | None = None,
    include: str = "",
    chat_template: bool = False,
    max_length: int | None = None,
    seed: int = SEED,
    say: Callable[[str], None] = lambda _: None,
) -> list[Harness]:
    """Return the benchmarks of these names as tasks that can be measured on a checkpoint.

    Args:
        names: tasks, groups, tags or patterns of the harness, or paths of task files.
        checkpoint: its tokenizer counts the tokens.
        shots: solved examples before each question; None: as each benchmark says.
        limit: documents of each benchmark, from the first; None: all.
        include: folder with task files of the user's own.
        chat_template: put prompts into the tokenizer's chat template.
        max_length: tokens that the model may see; None: what its config says.
        seed: draws the examples.
        say: called with each line that a person may want to read.

    Raises:
        UserError: without the harness, for an unknown name, for data that cannot be had.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        raise UserError(f"{checkpoint.name!r} has no tokenizer")
    refuse_tokenizer(tokenizer)
    if chat_template and not getattr(tokenizer, "chat_template", None):
        raise UserError(f"the tokenizer of {checkpoint.label!r} has no chat template; leave --apply-chat-template out")
    tasks: dict[str, Harness] = {}
    for asked in matching(names, include):
        for name, theirs in loaded(asked).tasks.items():
            made = benchmark(name, asked, Wording(shots, chat_template, seed), tokenizer)
            metrics, others = metrics_of(theirs)
            if not metrics:
                raise UserError(f"task {name!r} measures only {_listed(others)}, which no document has for itself")
            if others:
                say(f"{name}: {_listed(others)} of all documents together only, so without interval or comparison")
            longest, window = max(made.tokens), max_length or longest_input(checkpoint.config, tokenizer)
            if made.budget >= window:
                raise UserError(
                    f"task {name!r} asks for answers of up to {made.budget:,} tokens, and the model may see "
                    f"{window:,} in all; give a larger --max-length"
                )
            documents = min(limit or len(made.requests), len(made.requests))
            if cut := sum(tokens > window for tokens in made.tokens[:documents]):
                say(f"{name}: {cut} of {documents} documents are longer than {window:,} tokens; their beginning is cut")
            tasks[name] = Harness(
                lengths=(min(window, 1 << (longest - 1).bit_length()),),
                preset=re.sub(r"[^\w.-]+", "-", name)[:LONGEST_NAME],
                benchmark=name,
                asked=asked.name,
                documents=documents,
                include=include,
                shots=made.shots,
                chat_template=chat_template,
                window=window if longest > window else 0,
                seed=seed,
                data=made.data,
                config=made.config,
                benchmark_version=made.version,
                harness_version=version("lm_eval"),
            )
    return list(tasks.values())


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
