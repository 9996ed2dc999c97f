"""Can a checkpoint be rewritten, and is an attention what an attention must be?"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ssmax_eval.attention import ATTENTIONS, describe, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import resolve, running


class Finding(NamedTuple):
    """One line of a check."""

    text: str
    good: bool
    """Whether all is well."""

    def __str__(self) -> str:
        return self.text


def check(checkpoint: str | Checkpoint, attentions: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield what a checkpoint is, then for each attention whether the checkpoint can be rewritten to it.

    Without `attentions`, all of the catalogue are tried. The checkpoint is loaded, and a few tokens run.

    Example:
        >>> for finding in ssmax_eval.check("smollm2-135m", ["ssmax", "lssar:p=3"]):
        ...     print(finding)
    """
    source = Checkpoint(checkpoint) if isinstance(checkpoint, str) else checkpoint
    parsed = [parse(spec) for spec in attentions or ATTENTIONS]
    shape = source.shape
    heads = f" x {shape.heads} heads" if shape.heads else ""
    length = f"trained with {shape.train_length} tokens" if shape.train_length else "trained with an unknown length"
    yield Finding(f"{source.label}: {source.config.model_type}, {shape.layers} layers{heads}", True)
    yield Finding(f"{length}; fingerprint {source.fingerprint[:16]}", True)
    if source.tokenizer is None:
        yield Finding("it has no tokenizer, so no task can be run on it", False)
    else:
        template = "with" if getattr(source.tokenizer, "chat_template", None) else "without"
        yield Finding(f"tokenizer of {len(source.tokenizer)} tokens, {template} a chat template", True)
    hf = None
    for attention in parsed:
        try:
            resolved = resolve(source, attention)
        except UserError as error:
            yield Finding(f"refused  {describe(attention)}: {error}", False)
            continue
        hf = source.load() if hf is None else hf
        try:
            with running(source, hf, resolved) as model:
                yield Finding(f"ok       {describe(model.attention)}", True)
        except UserError as error:
            yield Finding(f"refused  {describe(attention)}: {error}", False)


def contract(spec: str) -> Iterator[Finding]:
    """Yield each clause of what an attention must do, and whether this attention does it."""
    from ssmax_eval.attention.contract import run

    for title, problem in run(parse(spec)):
        good = problem is None
        yield Finding(f"ok       {title}" if good else f"broken   {title}: {problem}", good)
