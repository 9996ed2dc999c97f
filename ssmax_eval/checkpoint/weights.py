"""Attention parameters in a checkpoint's own weights.

transformers drops keys it does not know with one line in its log; a learned s that is dropped makes every number
wrong. So the safetensors are read here.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError

NAMES = {
    "ssmax_s": "s",
    "ssmax_scale": "s",
    "softmax_scaler": "s",
    "ssmax_b": "b",
    "ssmax_bias": "b",
    "ssmax_p": "p",
}
"""Last part of a key in the file (its ".weight" aside) -> our parameter."""
INDEX = "model.safetensors.index.json"
"""Says which weight lies in which shard."""
TABLES = ("p",)
"""Parameters that are a table of any length for a layer, instead of a number for each head."""

ELSEWHERE = re.compile(r"vision|visual|audio|talker|(^|\.)mtp|nextn")
"""In the names of weights of other parts of a model, whose attention is not exchanged."""
SUSPECT = re.compile(r"ssmax|softmax_scal|scalable_softmax|logn|log_scal|attn_temp|attn_scale")
"""In the last part of the name of a weight that seems to scale an attention."""

PerLayer = tuple[tuple[float, ...], ...]


def parameter_of(key: str, own: Collection[str] = ()) -> str | None:
    """Return the attention parameter that a key of the file holds ("s", "b", "p"), or None.

    `own` are the parameters of a user's own attention, which the config names: `ssmax_NAME` holds NAME.
    """
    last = key.removesuffix(".weight").rsplit(".", 1)[-1]
    name = last.removeprefix("ssmax_")
    return name if name != last and name in own else NAMES.get(last)


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors that transformers loads from a folder: the file that its config names, model.safetensors,
    or the shards of the index; none where it holds its weights in another form.

    UserError for an index that cannot be read, or whose shards are not all there.
    """
    named = read_json(folder / "config.json").get("transformers_weights")
    for name in [named] if named else ["model.safetensors", INDEX]:
        if (path := folder / str(name)).is_file():
            return _shards(path) if path.suffix == ".json" else [path]
    return []


def _shards(index: Path) -> list[Path]:
    """The files that an index of shards names."""
    try:
        shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [shard for shard in shards if not (index.parent / shard).exists()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f'{str(index)!r} must hold a "weight_map" that names the file of each weight; '
            f"reading it gives {type(error).__name__}: {error}"
        ) from None
    if missing:
        raise UserError(f"{str(index.parent)!r} lacks {len(missing)} of its {len(shards)} shards: {', '.join(missing)}")
    return [index.parent / shard for shard in shards]


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where it is not there or not readable, which transformers says better."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def from_weights(
    folder: Path, layers: int, heads: int, full: Collection[int] | None = None, own: Collection[str] = ()
) -> Mapping[str, PerLayer]:
    """Return the attention parameters in the safetensors that transformers loads from `folder`, each as
    [layers][heads], or a table a layer.

    A scalar stands for every head of its layer. A key without a layer number stands for every layer, or holds all of
    them ([layers, heads]). Where only the layers in `full` have one, the others get (). UserError when another
    layer is missing, or a shape fits none of these. Parameters in `own` (see `parameter_of`) have any length.
    """
    from safetensors import SafetensorError, safe_open

    found: dict[str, dict[int | None, Sequence[float]]] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 (not a mapping)
                    if (name := parameter_of(key, own)) is not None and not ELSEWHERE.search(key):
                        if "indexer" in key:
                            raise UserError(
                                f"{key!r} in {path.name!r} scales an indexer, which chooses the keys of a layer; this "
                                "is not supported"
                            )
                        number = re.search(r"\.(\d+)\.", key)
                        layer, tensor = None if number is None else int(number[1]), file.get_tensor(key)
                        table = name in TABLES or name in own
                        rows = {layer: tensor.flatten().tolist()} if table else _rows(tensor, layer, layers, heads)
                        if rows is None:
                            shape = tuple(file.get_slice(key).get_shape())
                            raise UserError(
                                f"{key!r} in {path.name!r} has shape {shape}, which fits neither "
                                f"{heads} heads nor {layers} layers x {heads} heads"
                            )
                        found.setdefault(name, {}).update(rows)
        except (SafetensorError, OSError) as error:
            raise UserError(f"{str(path)!r} is not a whole safetensors file: {error}") from None
    return {name: _table(name, rows, layers, full) for name, rows in found.items()}


def _rows(tensor: Any, number: int | None, layers: int, heads: int) -> dict[int | None, Sequence[float]] | None:
    values = tensor.double().flatten().tolist()
    if len(values) == 1:
        return {number: values * heads}
    if len(values) == heads:
        return {number: values}
    if number is None and len(values) == layers * heads:
        return {layer: values[layer * heads : (layer + 1) * heads] for layer in range(layers)}
    return None


def _table(
    name: str, rows: Mapping[int | None, Sequence[float]], layers: int, full: Collection[int] | None
) -> PerLayer:
    missing = [layer for layer in range(layers) if layer not in rows and None not in rows]
    if missing and (full is None or set(full) & set(missing)):
        raise UserError(f"the checkpoint's weights hold {name!r} for some layers, but not for layers {missing}")
    return tuple(tuple(rows.get(layer, rows.get(None, ()))) for layer in range(layers))
