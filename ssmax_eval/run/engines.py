"""What runs the models of a plan: transformers, or vLLM."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ssmax_eval.attention import Attention
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import Model, running
from ssmax_eval.positions import PositionMap
from ssmax_eval.run import estimate

Under = Callable[[Attention, PositionMap | None], AbstractContextManager[Any]]
"""From an attention and a position map to a model that runs both, for as long as a block lasts."""
TOKENS = 1 << 15
"""Tokens of cells that are handed to vLLM together; it orders them by itself."""


def refuse(
    checkpoint: Checkpoint, attentions: Sequence[Attention], positions: Sequence[PositionMap | None] = ()
) -> None:
    """Raise UserError where the engine is not there, or cannot run one of the attentions or position maps.

    No weights are needed.
    """
    if checkpoint.engine_label:
        from ssmax_eval.vllm.engine import refuse_engine

        if any(position is not None for position in positions):
            raise UserError("position maps run under --engine transformers; vLLM has the model's own positions alone")
        for attention in attentions:
            refuse_engine(checkpoint, attention)


def refuse_workers(checkpoint: Checkpoint) -> None:
    """Raise UserError where workers of a Ray cluster cannot each hold the model."""
    if checkpoint.engine_label:
        raise UserError("--ray has workers that run transformers; vLLM spreads over GPUs by --tensor-parallel")
    if checkpoint.ranks > 1:
        raise UserError("--ray and --tensor-parallel exclude each other; give --gpus-per-worker and --device-map auto")


@contextmanager
def loaded(
    checkpoint: Checkpoint, longest: int, prefill_chunk: int | None, offload_cache: str = "auto"
) -> Iterator[Under]:
    """Load a checkpoint once, for contexts of `longest` tokens at most, and give what runs attentions on it."""
    if not checkpoint.engine_label:
        hf = checkpoint.load()

        @contextmanager
        def under(attention: Attention, position: PositionMap | None) -> Iterator[Model]:
            with running(checkpoint, hf, attention, position) as model:
                model.prefill_chunk, model.offload_cache = prefill_chunk, offload_cache
                yield model

        yield under
        return
    from ssmax_eval.vllm.engine import started

    with started(checkpoint, longest, chunk=prefill_chunk) as engine:
        from ssmax_eval.vllm.canary import verify
        from ssmax_eval.vllm.model import Served

        @contextmanager
        def served(attention: Attention, _: PositionMap | None) -> Iterator[Served]:
            engine.use(attention)
            model = Served(engine, attention)
            verify(model)
            yield model

        yield served


def batch_size(checkpoint: Checkpoint, length: int) -> int:
    """Return how many cells of a length to measure together."""
    return max(1, TOKENS // length) if checkpoint.engine_label else estimate.batch_size(checkpoint, length)
