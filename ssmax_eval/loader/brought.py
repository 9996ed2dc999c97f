"""Attention parameters that a checkpoint brings in its own weights.

transformers drops keys it does not know with one line in its log; a learned s that is dropped makes every number
wrong. So the safetensors are read here.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ssmax_eval.errors import UserError

NAMES = {
    "ssmax_s": "s",
    "ssmax_scale": "s",
    "softmax_scaler": "s",
    "ssmax_b": "b",
    "ssmax_bias": "b",
}
"""Last part of a key in the file (its ".weight" aside) -> our parameter."""

PerLayer = tuple[tuple[float, ...], ...]


def parameter_of(key: str) -> str | None:
    """The attention parameter that a key of the file holds ("s" or "b"), or None."""
    return NAMES.get(key.removesuffix(".weight").rsplit(".", 1)[-1])


def brought(folder: Path, layers: int, heads: int) -> Mapping[str, PerLayer]:
    """The attention parameters in the safetensors of `folder`, each as [layers][heads].

    A scalar stands for every head of its layer, and a key without a layer number for every layer. UserError when
    a layer is missing or a shape fits neither.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, dict[int | None, Sequence[float]]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 (not a mapping)
                    if (name := parameter_of(key)) is not None:
                        values = file.get_tensor(key).double().flatten().tolist()
                        if len(values) not in (1, heads):
                            raise UserError(f"{key!r} in {path.name!r} has {len(values)} numbers for {heads} heads")
                        number = re.search(r"\.(\d+)\.", key)
                        row = values * heads if len(values) == 1 else values
                        found.setdefault(name, {})[int(number[1]) if number else None] = row
        except (SafetensorError, OSError) as error:
            raise UserError(f"{str(path)!r} is not a whole safetensors file: {error}") from None
    return {name: _table(name, rows, layers) for name, rows in found.items()}


def _table(name: str, rows: Mapping[int | None, Sequence[float]], layers: int) -> PerLayer:
    missing = [layer for layer in range(layers) if layer not in rows and None not in rows]
    if missing:
        raise UserError(f"the checkpoint brings {name!r} for some layers but not for {missing}")
    return tuple(tuple(rows.get(layer, rows.get(None, ()))) for layer in range(layers))
