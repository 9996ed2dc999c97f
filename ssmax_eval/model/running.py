"""From what lies on disk to a model that runs: the attention and the position map that it has on a checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from ssmax_eval.attention import Attention, Unrewritten
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model.model import Model
from ssmax_eval.positions import PositionMap
from ssmax_eval.positions import parse as parse_position
from ssmax_eval.rewriting import refuse_by_config, rewritten
from ssmax_eval.rewriting.canary import verify_unrewritten


@contextmanager
def running(
    checkpoint: Checkpoint,
    hf: PreTrainedModel,
    attention: Attention,
    position: PositionMap | None = None,
    *,
    lasting: bool = False,
) -> Iterator[Model]:
    """`hf`, as `checkpoint.load` gave it, running an attention inside the block; with `lasting`, from then on.

    `position` is the position map, None for the model's own positions. `Unrewritten` leaves the model as it is.
    """
    if isinstance(attention, Unrewritten):
        attention.for_shape(checkpoint.shape)
        refuse_unrewritten(attention, position)
        verify_unrewritten(hf)
        yield Model(hf, checkpoint.tokenizer, None, checkpoint.shape)
        return
    with rewritten(hf, attention, position=position, shape=checkpoint.shape, lasting=lasting) as rewriting:
        yield Model(hf, checkpoint.tokenizer, rewriting, checkpoint.shape)


def resolve(checkpoint: Checkpoint, attention: Attention) -> Attention:
    """Return an attention with the parameters that it has on a checkpoint.

    UserError, before any weights are loaded, where the checkpoint's config says that it cannot be rewritten.
    """
    shape = checkpoint.shape
    if not isinstance(attention, Unrewritten):
        if not (shape.layers and shape.heads):
            attention.for_shape(shape)
        refuse_by_config(checkpoint.config)
    return attention.for_shape(shape)


def resolve_position(checkpoint: Checkpoint, position: str | PositionMap | None) -> PositionMap | None:
    """Return a position map with the parameters that it has on a checkpoint; None for the model's own positions.

    `position` is a specification such as "rerope:window=4096", or a map; "auto" is what the checkpoint's config names,
    and "none" stands for the model's own positions. UserError where it cannot be.
    """
    if position == "auto":
        position = checkpoint.position
    chosen = parse_position(position) if isinstance(position, str) else position
    return None if chosen is None else chosen.resolve(checkpoint.shape)


def refuse_unrewritten(attention: Attention, position: PositionMap | None) -> None:
    """Raise UserError for a position map in a model that is not rewritten."""
    if position is not None and isinstance(attention, Unrewritten):
        raise UserError("a position map needs an attention, such as softmax; --attention none leaves a model as it is")
