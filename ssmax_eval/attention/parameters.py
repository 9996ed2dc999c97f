"""Parameters that are one number, or one number per layer and head."""

import json
from pathlib import Path

import torch
from torch import Tensor

from ssmax_eval.attention.base import Shape
from ssmax_eval.errors import UserError

PerHead = float | tuple[tuple[float, ...], ...] | Tensor
"""One number for every head, or [layers][heads]; in training, a tensor [heads] of the layer that attends."""


def row(value: PerHead, layer: int, like: Tensor) -> Tensor | float:
    """Return the parameter in one layer, ready to multiply [B, H, R, 1]: a number, or [1, H, 1, 1] like `like`."""
    if isinstance(value, float | int):
        return float(value)
    if isinstance(value, Tensor):
        return value.to(like.device, like.dtype)[None, :, None, None]
    if layer >= len(value) or not value[layer]:
        raise UserError(f"layer {layer} attends, but the table of parameters has no values for it")
    return torch.tensor(value[layer], dtype=like.dtype, device=like.device)[None, :, None, None]


def fit(name: str, value: PerHead, shape: Shape) -> PerHead:
    """Return `value`. UserError when it does not fit the checkpoint's layers and heads."""
    if isinstance(value, float | int):
        return float(value)
    if isinstance(value, Tensor):
        raise UserError(f"parameter {name!r} is a tensor of one layer; a checkpoint needs a table [layers][heads]")
    given = (len(value), max(map(len, value)))
    if given != (shape.layers, shape.heads):
        raise UserError(
            f"parameter {name!r} is {given[0]} layers x {given[1]} heads, "
            f"but the checkpoint has {shape.layers} x {shape.heads}"
        )
    return value


def read_per_head(name: str, path: Path) -> PerHead:
    """Read `name` from a file: JSON ([layers][heads], or an object with that under `name`), or safetensors."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            table = load_file(path)[name].tolist()
        else:
            table = json.loads(path.read_text(encoding="utf-8"))
            table = table[name] if isinstance(table, dict) else table
        if isinstance(table, float | int):
            return float(table)
        values = tuple(tuple(float(x) for x in heads) for heads in table)
    except KeyError:
        raise UserError(f"{str(path)!r} has no {name!r} in it") from None
    except Exception as error:
        raise UserError(f"{str(path)!r} must hold {name!r} as a table [layers][heads]: {error}") from None
    if not values or not values[0] or len({len(heads) for heads in values}) != 1:
        raise UserError(
            f"{str(path)!r} must hold {name!r} as a table [layers][heads], with as many numbers in every row"
        )
    return values
