"""What a run would cost, before it is started."""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.sizes import sizes_of
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.memory import SHARE, available
from ssmax_eval.model.model import HEAD_ROWS
from ssmax_eval.model.offloading import cache_bytes, said

EFFICIENCY = 0.5
"""Share of the machine's matrix-product rate that a forward pass was seen to reach."""

TOKENS = {"cpu": 512, "cuda": 1 << 14}
"""Tokens measured together, by device, beyond which a larger batch no longer makes a cell faster."""


def seconds(checkpoint: Checkpoint, cells: Sequence[Cell]) -> float:
    """Return roughly how long one forward pass a cell takes: floating-point operations over this machine's rate."""
    return sum(work(checkpoint, cell.context_length) for cell in cells) / (
        EFFICIENCY * _rate(*checkpoint.device_and_dtype)
    )


def work(checkpoint: Checkpoint, length: int) -> int:
    """Return the floating-point operations of a forward pass over `length` tokens, its head included."""
    size = _size(checkpoint)
    return 2 * size.weights * length + 2 * size.layers * size.width * length * length


def weight_bytes(checkpoint: Checkpoint) -> int:
    """Return roughly how many bytes a model's weights take, without loading it."""
    return _size(checkpoint).weights * checkpoint.device_and_dtype.dtype.itemsize


def batch_size(checkpoint: Checkpoint, length: int, share: float = 1.0) -> int:
    """Return how many cells of a length to measure together: as many as save time and fit into the free memory.

    `share` is the part of that memory that is this process's.
    """
    device, dtype = checkpoint.device_and_dtype
    useful = TOKENS.get(device.type, TOKENS["cpu"]) // length
    if useful <= 1:
        return 1
    free = int(SHARE * share * available(device))
    return max(1, min(useful, free // cell_bytes(checkpoint.config, dtype, length)))


def cell_bytes(config: Any, dtype: torch.dtype, length: int) -> int:
    """Return the bytes that one cell of a length needs while it is measured, besides the weights.

    The widest point of a layer (residual and normed input, and the gate, up and product of the feed-forward part, or
    the heads' queries, keys, values and output), keys and values of all layers, and a slice of logits in float32.
    """
    size = sizes_of(config)
    attending = (4 * size.heads + 4 * size.groups) * size.width
    layer = length * (2 * size.hidden + max(3 * size.inner, attending)) * dtype.itemsize
    vocabulary = int(config.get_text_config(decoder=True).vocab_size)
    return layer + cache_bytes(config, dtype, length) + 3 * min(length, HEAD_ROWS) * vocabulary * 4


def cache_line(checkpoint: Checkpoint, cells: Sequence[Cell], choice: str) -> str:
    """Return where keys and values of the longest cell will be kept, if that is not on the device; else "".

    On the device is free what is free now, without the weights that are still to be loaded.
    """
    device, dtype = checkpoint.device_and_dtype
    if device.type == "cpu" or not cells:
        return ""
    apart = checkpoint.ranks
    need = cache_bytes(checkpoint.config, dtype, max(cell.context_length for cell in cells)) // apart
    free = available(device) - _size(checkpoint).weights * dtype.itemsize // apart
    return said(choice, need, device, free, available(torch.device("cpu")))


class _Size(NamedTuple):
    weights: int
    """Weights that every token is multiplied with."""
    layers: int
    width: int
    """Width of all heads of a layer together."""


@lru_cache
def _size(checkpoint: Checkpoint) -> _Size:
    """Read from the config how large a model is, without loading it."""
    config, _ = checkpoint.config, checkpoint.shape  # the shape refuses what is too large to be built
    try:
        with init_empty_weights():
            hf = AutoModelForCausalLM.from_config(config, trust_remote_code=checkpoint.trust_remote_code)
    except Exception as error:  # torch and transformers raise many kinds for sizes that cannot be
        raise UserError(
            f"no model can be built from the config of {checkpoint.name!r}: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}"
        ) from None
    embedding = hf.get_input_embeddings().weight
    tied = hf.get_output_embeddings() is not None and hf.get_output_embeddings().weight is embedding
    weights = hf.num_parameters() - (0 if tied else embedding.numel())
    text = config.get_text_config(decoder=True)
    heads = int(getattr(text, "num_attention_heads", 0))  # a model without any takes time in proportion to length
    width = heads * (getattr(text, "head_dim", None) or text.hidden_size // heads) if heads else 0
    return _Size(int(weights), int(text.num_hidden_layers), int(width))


@lru_cache
def _rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations a second of a square matrix product on the device."""
    side = 1024
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - start)
    return float(2 * side**3 / best)
