"""vLLM as the engine of a run: started once, it then runs one attention after the other."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from accelerate import init_empty_weights
from transformers import AutoModelForCausalLM

from ssmax_eval.attention import Attention, Softmax
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.rope import length_dependent
from ssmax_eval.errors import UserError
from ssmax_eval.model import Model
from ssmax_eval.model.offloading import GIB, cache_bytes
from ssmax_eval.vllm.reading import refuse_model, written
from ssmax_eval.vllm.staging import staged

SETTINGS = {
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
"""Environment of vLLM, where the user's says nothing: standard output is for results; lengths are the task's; a
process that torch has already run threads in cannot be forked."""
CHUNK = 2048
"""Tokens that run through the layers together. Log-probabilities of a prompt take as many rows of the vocabulary."""
SPARE = 64
"""Tokens beyond the longest context: what closes a thought, and the one that vLLM always writes."""
TEXTS = 4
"""Texts of the longest context whose keys and values the processor's memory is to hold."""


def refuse_engine(checkpoint: Checkpoint, attention: Attention) -> None:
    """Raise UserError where a checkpoint cannot be measured by vLLM under an attention. No weights are needed."""
    if checkpoint.device_map or checkpoint.device != "auto":
        raise UserError("vLLM places a model by itself; leave out --device and --device-map, or use --tensor-parallel")
    if length_dependent(checkpoint.config):
        raise UserError("this model's RoPE changes with the length of a text, which vLLM does not follow")
    refuse_model(checkpoint.config, attention)


class Engine:
    """A running vLLM with a checkpoint's weights."""

    def __init__(self, checkpoint: Checkpoint, llm: Any, longest: int, chunk: int) -> None:
        self.checkpoint, self.llm = checkpoint, llm
        self.longest = longest
        """Tokens of the longest text that can be run, what is written after it included."""
        self.chunk = chunk
        """Tokens that run through the layers together."""

    def use(self, attention: Attention) -> None:
        """Run another attention from now on, and forget keys and values of the one before."""
        refuse_model(self.checkpoint.config, attention)
        self.llm.collective_rpc("ssmax_eval_use", args=(written(attention),))
        self.forget()

    def forget(self) -> None:
        """Forget cached keys and values."""
        if not self.llm.reset_prefix_cache():
            raise RuntimeError("vLLM keeps cached keys and values, which may be those of another attention")

    def calls(self) -> list[dict[int, int]]:
        """Return for each worker how often its layers have attended since `use`."""
        found: list[dict[int, int]] = self.llm.collective_rpc("ssmax_eval_calls")
        return found

    @cached_property
    def max_positions(self) -> int | None:
        """Tokens beyond which the model cannot run at all, as `Model.max_positions`."""
        with init_empty_weights():
            hf = AutoModelForCausalLM.from_config(
                self.checkpoint.config, trust_remote_code=self.checkpoint.trust_remote_code
            )
        return Model(hf).max_positions


@contextmanager
def started(checkpoint: Checkpoint, longest: int, *, chunk: int | None = None) -> Iterator[Engine]:
    """Start vLLM on a checkpoint for texts of `longest` tokens at most, and end it with the block.

    Graphs are not compiled: the attention is exchanged while vLLM runs, and a compiled graph would keep the old one.
    """
    for name, value in {**SETTINGS, "VLLM_CPU_KVCACHE_SPACE": _cache_space(checkpoint, longest)}.items():
        os.environ.setdefault(name, value)
    from vllm import LLM

    size, most = longest + SPARE, chunk or CHUNK
    with staged(checkpoint, Softmax()) as folder:
        try:
            llm = LLM(
                model=str(folder),
                dtype=str(checkpoint.device_and_dtype.dtype).removeprefix("torch."),
                tensor_parallel_size=checkpoint.tensor_parallel,
                trust_remote_code=checkpoint.trust_remote_code,
                max_model_len=size,
                max_num_batched_tokens=most,
                enable_chunked_prefill=True,
                enable_prefix_caching=True,
                enforce_eager=True,
                generation_config="vllm",
                worker_extension_cls="ssmax_eval.vllm.worker.Extension",
                logits_processors=["ssmax_eval.vllm.forcing:Forcing"],
            )
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"vLLM does not start on {checkpoint.label!r}: {reason[-1]}") from None
        try:
            yield Engine(checkpoint, llm, size, most)
        finally:
            llm.llm_engine.engine_core.shutdown()


def _cache_space(checkpoint: Checkpoint, longest: int) -> str:
    """Return the GiB of keys and values that vLLM is to hold where it runs on the processor, at least 1."""
    need = cache_bytes(checkpoint.config, checkpoint.device_and_dtype.dtype, TEXTS * (longest + SPARE))
    return str(max(1, -(-need // GIB)))


def device_words() -> str:
    """Return what vLLM runs on, in words."""
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return "cpu"
