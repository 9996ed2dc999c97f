"""Can a checkpoint be rewritten, and is an attention what an attention must be?"""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from ssmax_eval.attention import ATTENTIONS, Attention, describe, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import refuse_unrewritten, resolve, resolve_position, running
from ssmax_eval.positions import POSITIONS, PositionMap
from ssmax_eval.positions import describe as describe_position
from ssmax_eval.positions import parse as parse_position
from ssmax_eval.positions.label import label


class Finding(NamedTuple):
    """One line of a check."""

    text: str
    good: bool
    """Whether all is well."""
    about: str = "checkpoint"
    """What it is about: "checkpoint", "training", "tokenizer", "attention", or "clause" of what attentions must do."""
    name: str | None = None
    """The attention, or the clause."""
    problem: str | None = None
    """What is wrong, where something is."""

    def __str__(self) -> str:
        return self.text


def check(
    checkpoint: str | Checkpoint, attentions: Sequence[str] = (), positions: Sequence[str] = ("auto",)
) -> Iterator[Finding]:
    """Yield what a checkpoint is, then for each attention whether the checkpoint can be rewritten to it.

    Without `attentions`, all of the catalogue are tried, under each of the position maps. The checkpoint is loaded, and
    a few tokens run.

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
    yield Finding(f"{length}; fingerprint {source.fingerprint[:16]}", True, "training")
    if source.tokenizer is None:
        problem = "it has no tokenizer, so no task can be run on it"
        yield Finding(problem, False, "tokenizer", problem=problem)
    else:
        template = "with" if getattr(source.tokenizer, "chat_template", None) else "without"
        yield Finding(f"tokenizer of {len(source.tokenizer)} tokens, {template} a chat template", True, "tokenizer")
    hf = None
    for attention, given in product(parsed, positions):
        name = describe(attention) if given == "auto" else label(describe(attention), given)
        try:
            resolved, position = resolve(source, attention), resolve_position(source, given)
            refuse_unrewritten(resolved, position)
            hf = source.load() if hf is None else hf
            with running(source, hf, resolved, position) as model:
                name = label(describe(model.attention), describe_position(position))
                yield Finding(f"ok       {name}", True, "attention", name)
        except UserError as error:
            yield Finding(f"refused  {name}: {error}", False, "attention", name, str(error))


def contract(spec: str) -> Iterator[Finding]:
    """Yield each clause of what an attention, or a position map, must do, and whether this one does it."""
    from ssmax_eval.attention import contract as of_attention
    from ssmax_eval.positions import contract as of_position

    parsed = _parsed(spec)
    found = of_attention.run(parsed) if isinstance(parsed, Attention) else of_position.run(parsed)
    for title, problem in found:
        if problem is None:
            yield Finding(f"ok       {title}", True, "clause", title)
        else:
            yield Finding(f"broken   {title}: {problem}", False, "clause", title, problem)


def _parsed(spec: str) -> Attention | PositionMap:
    """Return the attention or the position map that a specification names. UserError where it is neither."""
    try:
        return parse(spec)
    except UserError:
        name = spec.partition(":")[0]
        if name in ATTENTIONS or (name not in POSITIONS and not _is_map(spec)):
            raise
    position = parse_position(spec)
    assert position is not None
    return position


def _is_map(spec: str) -> bool:
    """Whether a position map of the user's own is there."""
    try:
        return parse_position(spec) is not None
    except UserError:
        return False
