"""What a run would cost, before it is started."""

import time
from collections.abc import Sequence
from functools import lru_cache

import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM

from ssmax_eval.loader import Checkpoint
from ssmax_eval.measurement import Cell

EFFICIENCY = 0.5
"""Share of the machine's matrix-product rate that a forward pass was seen to reach."""


def seconds(checkpoint: Checkpoint, cells: Sequence[Cell]) -> float:
    """A rough time for one forward pass a cell: floating-point operations over the measured rate of this machine."""
    weights, layers, width = _size(checkpoint)
    work = sum(2 * weights * n + 2 * layers * width * n * n for n in (cell.context_length for cell in cells))
    return work / (EFFICIENCY * _rate(*checkpoint.placed))


@lru_cache
def _size(checkpoint: Checkpoint) -> tuple[int, int, int]:
    """Weights that every token is multiplied with, layers, and width of all heads together."""
    config = checkpoint.config
    with init_empty_weights():
        hf = AutoModelForCausalLM.from_config(config, trust_remote_code=checkpoint.trust_remote_code)
    embedding = hf.get_input_embeddings().weight
    tied = hf.get_output_embeddings() is not None and hf.get_output_embeddings().weight is embedding
    weights = hf.num_parameters() - (0 if tied else embedding.numel())
    text = config.get_text_config(decoder=True)
    width = text.num_attention_heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    return int(weights), int(text.num_hidden_layers), int(width)


@lru_cache
def _rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a square matrix product."""
    side = 1024
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = min(best, time.perf_counter() - start)
    return float(2 * side**3 / best)
