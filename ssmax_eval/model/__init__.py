"""A language model as the tasks see it: tokens in, numbers out."""

from ssmax_eval.attention import Attention, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.model.completing import Completion, Request
from ssmax_eval.model.convert import convert
from ssmax_eval.model.model import Answer, Model, Question, refuse_unrewritten, resolve, resolve_position, running
from ssmax_eval.positions import PositionMap

__all__ = [
    "Answer",
    "Completion",
    "Model",
    "Question",
    "Request",
    "convert",
    "load",
    "refuse_unrewritten",
    "resolve",
    "resolve_position",
    "running",
]


def load(
    checkpoint: str,
    attention: str | Attention = "auto",
    *,
    position: str | PositionMap | None = "auto",
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    device_map: str | None = None,
    rope_theta_scale: float = 1.0,
    rope: str | None = None,
    train_length: int | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
) -> Model:
    """Load a checkpoint and rewrite its attention, for good.

    `checkpoint` is a hub id, a local folder, a GGUF file or a packaged short name; `attention` a specification
    such as "ssmax:s=0.2", by default what the checkpoint was trained with, or "none", which leaves any causal
    language model as it is; `position` a position map such as "rerope:window=4096", by default what the checkpoint's
    config names, or "none"; the rest is as in `Checkpoint`.
    UserError when any of it cannot be.
    """
    chosen = parse(attention) if isinstance(attention, str) else attention
    source = Checkpoint(
        checkpoint,
        revision,
        dtype,
        device,
        device_map,
        rope_theta_scale,
        rope,
        train_length,
        trust_remote_code,
        allow_pickle,
    )
    chosen, placed = resolve(source, chosen), resolve_position(source, position)
    refuse_unrewritten(chosen, placed)
    with running(source, source.load(), chosen, placed, lasting=True) as model:
        return model
