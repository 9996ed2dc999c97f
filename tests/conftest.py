"""A tiny random checkpoint with a real tokenizer, made once a session."""

import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"
if shutil.which("nvidia-smi") is None:
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported: its kernels then run on the CPU

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))

CHAT = "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}<|assistant|>"


def make_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 600 tokens that splits digits, as SmolLM2's does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|bos|>", "<|user|>", "<|end|>", "<|assistant|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(list(topics.values())[:20], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|bos|>", eos_token="<|end|>")
    if chat:
        fast.chat_template = CHAT
    return fast


SMALL: dict[str, Any] = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "initializer_range": 0.3,
}
"""Sizes of a tiny model, by the names that most types have."""
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


def tiny_config(**changes: object) -> LlamaConfig:
    settings = {**SMALL, **HEADS, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 2}
    return LlamaConfig(**(settings | changes))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local checkpoint: 2 layers x 4 heads (2 key-value heads), trained length 256 by its config."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny-llama"
    torch.manual_seed(0)
    LlamaForCausalLM(tiny_config()).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_hf() -> LlamaForCausalLM:
    """The same architecture in memory, in float64, where differences cannot hide behind rounding."""
    torch.manual_seed(0)
    return LlamaForCausalLM(tiny_config()).double().eval()
