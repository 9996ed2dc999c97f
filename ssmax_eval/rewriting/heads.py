"""The heads that this process has of every layer, where several processes hold one model (tensor parallelism).

Each process attends with its own heads: heads/N of them, in order. Parameters with a number for each head are cut
likewise, and whoever looks at attention weights gets those of all processes. Nothing here knows an attention by name.
So it is proved, on a few tokens: all heads are brought together, the whole attention runs on them, and its weights
must be those that each process had.
"""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ssmax_eval.attention import Attention, Call, Extras, Shape, Visible
from ssmax_eval.checkpoint.parallel import Processes, processes
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting.backends import Seen

CLOSE = 1e-4
"""How far apart two ways to the same weights may be, by rounding."""


class Heads:
    """Which heads of every layer this process has."""

    def __init__(self, shape: Shape, among: Processes) -> None:
        self.shape, self.among = shape, among
        self.own = shape.heads // among.count
        self._cut: dict[int, tuple[Attention, Attention]] = {}

    def part(self, attention: Attention, heads: int) -> Attention:
        """Return an attention for a call with so many heads: with all parameters, or those of this process's heads.

        A plan of transformers may leave the heads of some model whole, in every process.
        """
        if heads == self.shape.heads:
            return attention
        if heads != self.own:
            raise UserError(
                f"a layer has {heads} heads in each of {self.among.count} processes, but the config of this model says "
                f"{self.shape.heads} in all; layers that differ in heads cannot be rewritten under --tensor-parallel"
            )
        if id(attention) not in self._cut:
            self._cut[id(attention)] = attention, self.cut(attention)
        return self._cut[id(attention)][1]

    def cut(self, attention: Attention) -> Attention:
        """Return an attention with its tables [layers][numbers] cut, where their size follows the number of heads."""
        less = replace(self.shape, heads=self.own)
        changes: dict[str, Any] = {}
        for f in fields(attention):
            table = getattr(attention, f.name)
            if not (isinstance(table, tuple) and table and all(isinstance(row, tuple) for row in table)):
                continue
            size, width = (attention.size(f.name, shape) for shape in (self.shape, less))
            if size == width or any(len(row) not in (0, size) for row in table):
                continue
            first = self.among.rank * width
            changes[f.name] = tuple(row[first : first + width] for row in table)
        return replace(attention, **changes) if changes else attention

    def all(self, x: Tensor) -> Tensor:
        """Return what all heads have, [B, H, ..], of what this process's heads have, [B, heads, ..]."""
        return x if x.shape[1] == self.shape.heads else self.among.joined(x, 1)

    def whole(self, call: Call) -> Call:
        """Return a call with the heads of all processes."""
        extras, mask = call.extras, call.visible.mask
        return Call(
            self.among.joined(call.query, 1),
            self.among.joined(call.key, 1),
            self.among.joined(call.value, 1),
            Visible(call.visible.rows, call.visible.keys, None if mask is None else self._of_all(mask)),
            call.scaling,
            call.layer,
            Extras(
                extras.softcap,
                None if extras.bias is None else self._of_all(extras.bias),
                None if extras.sink is None else self._of_all(extras.sink),
            ),
        )

    def _of_all(self, x: Tensor) -> Tensor:
        """The same of something that has one head where all heads share it."""
        return x if x.shape[1] == 1 else self.among.joined(x, 1)

    def error(self, attention: Attention, whole: Attention, call: Call) -> float:
        """Return how far this process's weights, by its part of an attention, are from those of the whole attention."""
        if call.query.shape[1] == self.shape.heads:
            return 0.0
        if isinstance(call.visible, Seen):
            call = replace(call, visible=call.visible.dense(call.query.device))
        rows, first = call.visible.rows, self.among.rank * self.own
        mine = attention.weights(call.block(0, rows))
        wanted = whole.weights(self.whole(call).block(0, rows))[:, first : first + self.own]
        return float((mine - wanted).abs().max()) if mine.shape == wanted.shape else float("inf")


def heads_of(hf: PreTrainedModel, shape: Shape) -> Heads | None:
    """Return the heads that this process has of a model; None where it has all of them."""
    if (hf.tp_size or 1) == 1:
        return None
    among = processes()
    if among.count != hf.tp_size:
        raise UserError(
            f"this model is held by {hf.tp_size} processes that ssmax-eval did not start; "
            f"load it with ssmax_eval.load(..., tensor_parallel={hf.tp_size})"
        )
    return Heads(shape, among)


@torch.inference_mode()
def verify_heads(hf: PreTrainedModel, rewriting: Any, ids: Tensor) -> None:
    """Prove that the heads of each process attend as they would with all others. UserError, in all, otherwise."""
    heads: Heads | None = rewriting.heads
    if heads is None:
        return
    worst = 0.0

    def probe(attention: Attention, call: Call) -> None:
        nonlocal worst
        error = heads.error(attention, rewriting.of_layer(call.layer), call)
        worst = worst if error < worst else error  # also where it is NaN

    with rewriting.running(probe):
        hf(input_ids=ids, use_cache=False)
    errors = heads.among.every(worst)
    if not all(error < CLOSE for error in errors):
        raise UserError(
            f"{type(rewriting.attention).__name__} gives other weights where its heads are spread over "
            f"{heads.among.count} processes (by {max(errors):.2g}); run it without --tensor-parallel"
        )
