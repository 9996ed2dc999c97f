"""Is everything there that a checkpoint needs, and is nothing left over that would change its numbers?"""

import json
from pathlib import Path
from typing import Any

from ssmax_eval.attention import Shape
from ssmax_eval.checkpoint.weights import parameter_of, unknown_parameters
from ssmax_eval.errors import UserError


def refuse_missing_shards(folder: Path) -> None:
    """Raise UserError when a file that the index of shards names is not there."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{str(index)!r} is no index of shards: {error}") from None
        if missing := sorted(shard for shard in shards if not (folder / shard).exists()):
            raise UserError(f"{str(folder)!r} lacks {len(missing)} of its {len(shards)} shards: {', '.join(missing)}")


def refuse_incomplete(name: str, info: dict[str, Any], shape: Shape) -> None:
    """Raise UserError when `info`, which transformers gives on loading, tells of missing, wrong or unknown weights."""
    for key, there, wanted in sorted(info.get("mismatched_keys", ()), key=str):
        raise UserError(
            f"{name!r} has weights of the wrong shape, among them {key!r}: {tuple(there)} where {tuple(wanted)} fits"
        )
    if missing := sorted(info.get("missing_keys", ())):
        raise UserError(f"{name!r} lacks {len(missing)} of its weights, among them {missing[0]!r}")
    unused = info.get("unexpected_keys", ())
    if (lost := sorted(filter(parameter_of, unused))) and not shape.from_weights:
        raise UserError(f"{name!r} holds {lost[0]!r} in a pickle, where it is not read; save it as safetensors")
    if strange := unknown_parameters(unused, shape.layers, shape.from_weights):
        raise UserError(
            f"{name!r} holds an attention parameter that is not known here: {strange[0]!r}; "
            "ignoring it would give wrong numbers"
        )
