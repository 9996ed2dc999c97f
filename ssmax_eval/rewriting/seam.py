"""Every private name of transformers that is used here, one function for each use.

A new version of transformers that moves one of them is mended in this file. The two registries that it works on are
public: one for the function that attends, one for the function that makes the mask; but public names can only add to
them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.modeling_flash_attention_utils import _is_packed_sequence


class Implementation(NamedTuple):
    """A config of a model, or of a part of it, and the name of the attention function that it runs."""

    config: Any
    name: str


def implementation_of(config: Any) -> str:
    """Return the name of the attention function that a config runs."""
    name: str = config._attn_implementation
    return name


def implementations(hf: PreTrainedModel) -> list[Implementation]:
    """Return all configs in a model, each once, with what they run."""
    configs = [module.config for module in hf.modules() if hasattr(module, "config")]
    configs += [getattr(hf.config, name) for name in hf.config.sub_configs]
    unique = {id(config): config for config in configs if hasattr(config, "_attn_implementation_internal")}
    return [Implementation(config, implementation_of(config)) for config in unique.values()]


def set_implementation(config: Any, name: str) -> None:
    """Make one config run another function, and leave the configs of its parts as they are."""
    config._attn_implementation_internal = name


def restore(before: Sequence[Implementation]) -> None:
    """Make each config run what it ran before."""
    for config, name in before:
        set_implementation(config, name)


@contextmanager
def running(configs: Sequence[Any], name: str) -> Iterator[None]:
    """Inside the block, make each of the configs run the function `name`."""
    before = [Implementation(config, implementation_of(config)) for config in configs]
    restore([Implementation(config, name) for config in configs])
    try:
        yield
    finally:
        restore(before)


def calls_the_interface(hf: PreTrainedModel) -> bool:
    """Whether any part of a model finds its attention function by name; the others compute attention by themselves."""
    return any(m._can_set_attn_implementation() for m in hf.modules() if isinstance(m, PreTrainedModel))


def class_calls_the_interface(cls: type[PreTrainedModel]) -> bool:
    """Whether a class by itself, leaving out its parts, finds its attention function by name."""
    return bool(cls._can_set_attn_implementation())


def is_registered(name: str) -> bool:
    """Whether there is an attention function of this name."""
    return name in AttentionInterface._global_mapping


def function_of(name: str) -> Callable[..., Any] | None:
    """Return the attention function of this name, or None for one that transformers keeps elsewhere, such as eager."""
    function: Callable[..., Any] | None = AttentionInterface._global_mapping.get(name)
    return function


def mask_function_of(name: str) -> Callable[..., Any] | None:
    """Return the mask function of this name, or None."""
    function: Callable[..., Any] | None = AttentionMaskInterface._global_mapping.get(name)
    return function


def forget(name: str) -> None:
    """Take a name out of both registries."""
    AttentionInterface._global_mapping.pop(name)
    AttentionMaskInterface._global_mapping.pop(name)


def source_of(config: Any) -> str:
    """Return the folder or hub id that a config was read from; "" for one made in memory."""
    name: str = config._name_or_path
    return name


def packs_sequences(position_ids: Tensor | None, batch: int) -> bool:
    """Whether position ids say that flash would take one row of tokens for several sequences."""
    return bool(_is_packed_sequence(position_ids, batch))


def layer_index(module: nn.Module) -> int | None:
    """Return the layer that an attention module belongs to; None where it does not know."""
    layer = getattr(module, "layer_idx", None)
    return None if layer is None else int(layer)


def use_one_gpu(arguments: Any) -> None:
    """Make transformers' Trainer use at most one of several GPUs, given its `TrainingArguments`."""
    arguments._n_gpu = min(arguments.n_gpu, 1)
