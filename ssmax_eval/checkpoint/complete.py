"""Is everything there that a checkpoint needs, and is nothing left over that would change its numbers?"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ssmax_eval.attention import Shape
from ssmax_eval.checkpoint.weights import ELSEWHERE, SUSPECT, parameter_of, weight_files
from ssmax_eval.errors import UserError

HARMLESS = re.compile(
    r"inv_freq$|(cos|sin)_cached$|position_ids$|relative_position_index$|_float_tensor$"  # tables made anew
    r"|masked_bias$"
    r"|vision|visual|audio|image|video|speech|multi_modal_projector|mm_projector|connector\."  # other modalities
    r"|talker|token2wav|code2wav"
    r"|(^|\.)mtp|nextn"  # predict tokens further ahead
    r"|(^|\.)(pooler|classifier|score|qa_outputs|v_head|value_head|seq_relationship)\."  # heads of other tasks
)
"""In the names of weights that a language model can do without."""
AHEAD = re.compile(r"\.(eh_proj|enorm|hnorm|shared_head)\.")
"""In the names of weights of a layer past the last that predicts tokens further ahead."""
AHEAD_COUNTS = ("num_nextn_predict_layers", "num_mtp_layers", "num_mtp_modules", "mtp_num_hidden_layers")
"""How a config calls the number of such layers."""
OUTPUT_NORM = re.compile(r"rela[._]?(norm|gate|scale)")
"""In the names of the weights that normalise the output of ReLA."""
NAMED = 3
"""Weights that a message names."""


def refuse_incomplete(
    name: str, folder: Path, info: dict[str, Any], config: Any, shape: Shape, used: Collection[str] = ()
) -> None:
    """Raise UserError when `info`, which transformers gives on loading, tells of missing, wrong or unused weights.

    `name` is for messages; `config` is the transformers config; `used` are the names of the weights of the model.
    """
    for key, there, wanted in sorted(info.get("mismatched_keys", ()), key=str):
        raise UserError(
            f"{name!r} has weights of the wrong shape, among them {key!r}: {tuple(there)} where {tuple(wanted)} fits"
        )
    if missing := sorted(info.get("missing_keys", ())):
        raise UserError(f"{name!r} lacks {len(missing)} of its weights, among them {missing[0]!r}")
    unused = info.get("unexpected_keys", ())
    if (lost := sorted(key for key in unused if parameter_of(key, shape.from_weights))) and not shape.from_weights:
        raise UserError(f"{name!r} holds {lost[0]!r} in a pickle, where it is not read; save it as safetensors")
    if norms := sorted(filter(OUTPUT_NORM.search, unused)):
        raise UserError(
            f"{name!r} was trained with ReLA and its norm on the output of each head ({norms[0]!r}), which is not "
            "supported; without it the numbers would be wrong"
        )
    if strange := unused_weights(unused, folder, config, shape):
        others = f" and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
        raise UserError(
            f"{name!r} holds weights that its model does not use: {', '.join(map(repr, strange[:NAMED]))}{others}; "
            "leaving them out would give wrong numbers"
        )
    if used and (lost := unconsumed(folder, used, shape)):
        raise UserError(
            f"{name!r} holds {lost[0]!r}, which seems to scale its attention, and nothing uses it; leaving it out "
            "would give wrong numbers"
        )


def unconsumed(folder: Path, used: Collection[str], shape: Shape) -> list[str]:
    """Return weights in `folder` that seem to scale an attention, and that neither the model nor an attention uses.

    They are read from the files: classes of transformers leave some weights out in silence.
    """
    from safetensors import safe_open

    known, found = {_last(key) for key in used}, []
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            found += [key for key in file.keys() if SUSPECT.search(_last(key))]  # noqa: SIM118 (not a mapping)
    return sorted(
        key
        for key in found
        if parameter_of(key, shape.from_weights) is None and _last(key) not in known and not ELSEWHERE.search(key)
    )


def _last(key: str) -> str:
    return key.removesuffix(".weight").rsplit(".", 1)[-1]


def unused_weights(keys: Iterable[str], folder: Path, config: Any, shape: Shape) -> list[str]:
    """Return those of the weights that transformers did not use which may change the numbers of a language model.

    Left out are our attention parameters, tables that are made anew, other modalities, heads of other tasks, layers
    that predict tokens further ahead, biases of zeros and masks that were saved with the weights.
    """
    text = config.get_text_config(decoder=True)
    ahead = max(int(getattr(text, name, None) or 0) for name in AHEAD_COUNTS)
    left = sorted(key for key in keys if parameter_of(key, shape.from_weights) is None and not HARMLESS.search(key))
    beyond = {key: number for key in left if (number := _layer(key)) is not None and number >= shape.layers}
    known = {number for key, number in beyond.items() if AHEAD.search(key)} | set(
        range(shape.layers, shape.layers + ahead)
    )
    left = [key for key in left if beyond.get(key) not in known]
    idle = _without_effect(folder, left)
    return [key for key in left if key not in idle]


def _layer(key: str) -> int | None:
    number = re.search(r"\.(\d+)\.", key)
    return None if number is None else int(number[1])


def _without_effect(folder: Path, keys: Iterable[str]) -> set[str]:
    """Biases of zeros, which add nothing, and causal masks [1, 1, n, n] that older models save as a "bias"."""
    from safetensors import safe_open

    biases, found = {key for key in keys if key.endswith("bias")}, set()
    for path in weight_files(folder) if biases else []:
        with safe_open(path, "pt") as file:
            for key in biases & set(file.keys()):
                shape = file.get_slice(key).get_shape()
                mask = len(shape) == 4 and list(shape[:2]) == [1, 1] and shape[2] == shape[3]
                if mask or not file.get_tensor(key).any():
                    found.add(key)
    return found
