"""Can a checkpoint be rewritten, and is an attention what an attention must be?"""

from collections.abc import Iterator, Sequence

from ssmax_eval.attention import ATTENTIONS, describe, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import running


def check(checkpoint: Checkpoint, attentions: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """What a checkpoint is, then for each attention whether it can be rewritten: lines, and whether all is well."""
    parsed = [parse(spec) for spec in attentions or ATTENTIONS]
    shape = checkpoint.shape
    yield (
        f"{checkpoint.label}: {checkpoint.config.model_type}, {shape.layers} layers x {shape.heads} heads",
        True,
    )
    yield f"trained with {shape.train_length} tokens; fingerprint {checkpoint.fingerprint[:16]}", True
    if checkpoint.tokenizer is None:
        yield "no tokenizer: no task can be run", False
    else:
        template = "with" if getattr(checkpoint.tokenizer, "chat_template", None) else "without"
        yield f"tokenizer of {len(checkpoint.tokenizer)} tokens, {template} a chat template", True
    hf = checkpoint.load()
    for attention in parsed:
        try:
            with running(checkpoint, hf, attention.resolve(shape)) as model:
                yield f"ok       {describe(model.attention)}", True
        except UserError as error:
            yield f"refused  {describe(attention)}: {error}", False


def contract(spec: str) -> Iterator[tuple[str, bool]]:
    """Each clause of what an attention must do, and whether this one does: lines, and whether all is well."""
    from ssmax_eval.attention.contract import run

    for title, problem in run(parse(spec)):
        yield (f"ok       {title}", True) if problem is None else (f"broken   {title}: {problem}", False)
