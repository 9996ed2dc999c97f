"""What an attention is: weights over the keys that a row may see. Shapes are named in `call`."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ssmax_eval.attention.call import Call, Extras, Rows
from ssmax_eval.attention.functions import weighted_sum
from ssmax_eval.errors import UserError
from ssmax_eval.memory import block_numbers

BLOCK_NUMBERS = 1 << 24
"""Weights that the definition computes at a time where memory allows (64 MiB in float32)."""
EXTRAS = {"softcap": "soft-capping of scores", "bias": "biases on scores", "sink": "attention sinks"}
"""The fields of `Extras` in words."""

Kernel = Callable[[Any, Call], Tensor | None]
"""A faster way to the output of an attention, [B, H, T, width of value]; None where it does not apply to the call."""


@dataclass(frozen=True)
class Shape:
    """What an attention may need to know of a checkpoint to fill in its parameters."""

    layers: int
    """Decoder layers; 0 where the config names none."""
    heads: int
    """Query heads of a layer; 0 where the config names none."""
    train_length: int
    """Context length, in tokens, that the checkpoint was trained with; 0 where the config names none."""
    from_weights: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    """Attention parameters found in the checkpoint's own weights: name -> [layers][heads], or () where none."""
    full: tuple[int, ...] | None = None
    """Layers with full attention, where the config tells them from those with a window; None: all."""
    from_config: "Attention | None" = None
    """The attention that the checkpoint was trained with, where its config names one."""
    refusal: str | None = None
    """Why such a checkpoint cannot be rewritten; None where it can, as far as its config says."""


@dataclass(frozen=True)
class Attention(ABC):
    """One kind of attention, with its parameters. A subclass must define `weights`; all else follows from it."""

    layers: str | None = field(default=None, kw_only=True)
    """Layers that are rewritten: "full" for those with full attention, or numbers as in "0-3+7"; None: all.
    The others attend with softmax."""

    about: ClassVar[str] = ""
    """The formula and its source in one line, for a class outside this package."""
    version: ClassVar[int] = 1
    """Raised when the formula changes its numbers, so that stored cells are not reused in silence."""
    log_scaled: ClassVar[bool] = False
    """Whether scores grow with log n. A model that does so by itself would then be scaled twice."""
    learned: ClassVar[tuple[str, ...]] = ()
    """Parameters that a model learns in training, one for each layer and head, where they are not given."""
    honours: ClassVar[frozenset[str]] = frozenset()
    """Which fields of `Extras` the definition takes into account. A model that asks for another is refused."""
    kernels: ClassVar[tuple[Kernel, ...]] = ()
    """Faster ways to the same output, the first that applies is taken. They belong to the `weights` of the class that
    names them: a subclass with `weights` of its own has none, unless it names its own."""
    part_kernels: ClassVar[tuple[Kernel, ...]] = ()
    """The same for calls under a position map, whose scores are made of parts; no other kernel gets those."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("kernels", "part_kernels"):
            owner = next(c for c in cls.__mro__ if name in c.__dict__)
            if cls.weights is not getattr(owner, "weights", None):
                setattr(cls, name, ())

    @abstractmethod
    def weights(self, rows: Rows) -> Tensor:
        """Return the weights of each row, [B, H, R, S], zero where not visible. This is the definition, to be read."""

    def forward(self, call: Call) -> Tensor:
        """Return the output of the attention, [B, H, T, width of value]: by a kernel, or from the definition."""
        self.refuse_beyond(call.extras)
        for kernel in self.kernels if call.placed is None else self.part_kernels:
            if (output := kernel(self, call)) is not None:
                return output
        return by_definition(self, call)

    def resolve(self, shape: Shape) -> "Attention":
        """Return this attention with the parameters that depend on the checkpoint filled in.

        Here those are the learned ones that are None: what the checkpoint's weights hold, else their `start`.
        """
        names = [f.name for f in fields(self)]
        if strange := sorted(set(self.learned) - set(names)):
            raise UserError(
                f"{type(self).__name__}.learned must name fields of the class; got {strange[0]!r}; "
                f"its fields: {', '.join(names) or 'none'}"
            )
        missing = [name for name in self.learned if getattr(self, name) is None]
        found: dict[str, Any] = {name: shape.from_weights.get(name) or self.start(name, shape) for name in missing}
        return replace(self, **found) if found else self

    def start(self, name: str, shape: Shape) -> float:
        """Return what a learned parameter is before it is learned. UserError where the class does not say."""
        raise UserError(
            f"{type(self).__name__} has no value for {name!r}; give one, as in {name}=1, or define `start` in the class"
        )

    def for_shape(self, shape: Shape) -> "Attention":
        """Resolve this attention for a checkpoint. UserError where that cannot be rewritten."""
        if shape.refusal is not None:
            raise UserError(shape.refusal)
        return self.resolve(shape)

    @property
    def ignores_scaling(self) -> bool:
        """Whether the lengths of queries and keys make no difference, so that a factor on them (YaRN) is lost."""
        return False

    def size(self, name: str, shape: Shape) -> int:
        """Return how many numbers a learned parameter is in one layer: one per head."""
        return shape.heads

    def refuse_beyond(self, extras: Extras) -> None:
        """Raise UserError when the model asks for something that the definition does not honour."""
        if beyond := sorted(extras.names() - self.honours):
            raise UserError(
                f"{type(self).__name__} does not support {EXTRAS[beyond[0]]}, which this model uses; "
                "ignoring them would give wrong numbers"
            )

    def parameters(self) -> dict[str, Any]:
        """Return the parameters by name, as plain values that JSON can hold; `layers` only where it limits any."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if name != "layers" or value is not None}

    def rewrites(self, shape: Shape) -> frozenset[int] | None:
        """Return the layers that run this attention; None for all. UserError when `layers` does not fit."""
        if self.layers is None:
            return None
        if self.layers == "full":
            return None if shape.full is None else frozenset(shape.full)
        chosen: set[int] = set()
        for part in self.layers.split("+"):
            if (numbers := re.fullmatch(r"(\d+)(?:-(\d+))?", part)) is None:
                raise UserError(f"layers={self.layers!r} must be 'full' or numbers such as 0-3+7")
            chosen |= set(range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1))
        if not chosen or max(chosen) >= shape.layers:
            raise UserError(
                f"layers={self.layers!r} does not fit a checkpoint of {shape.layers} layers; "
                f"they are numbered 0 to {shape.layers - 1}"
            )
        return frozenset(chosen)


def by_definition(attention: Attention, call: Call) -> Tensor:
    """Return the output of an attention, [B, H, T, width of value], from its `weights` on blocks of rows.

    Memory is linear in S: only a block of rows × S weights exists at a time. In training, too: there the blocks are
    computed again for their gradients, unless there is only one.
    """
    query, value = call.query, call.value
    batch, heads, rows, _ = query.shape
    output = query.new_empty(batch, heads, rows, value.shape[-1])
    step = max(1, block_numbers(BLOCK_NUMBERS, query.device) // (batch * heads * call.visible.keys))

    def block(start: int, stop: int) -> Tensor:
        weights = attention.weights(call.block(start, stop))
        return weighted_sum(weights, value[:, :, : call.keys_until(stop)]).to(query.dtype)

    again = step < rows and torch.is_grad_enabled()
    for start in range(0, rows, step):
        ends = start, min(start + step, rows)
        made = checkpoint(block, *ends, use_reentrant=False, preserve_rng_state=False) if again else block(*ends)
        output[:, :, slice(*ends)] = made
    return output
