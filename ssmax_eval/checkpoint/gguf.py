"""GGUF files: converted once to a folder of safetensors, and kept in a cache."""

import logging
from pathlib import Path
from typing import Any

from ssmax_eval.checkpoint.fingerprint import file_digest
from ssmax_eval.checkpoint.places import first_line
from ssmax_eval.errors import UserError
from ssmax_eval.files import cache_folder, whole_folder

log = logging.getLogger(__name__)

CONVERSION = 1
"""Raised when the conversion changes what it writes, so that older copies are not used."""

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def converted_folder(path: Path) -> Path:
    """Return the folder of safetensors made from a GGUF file: from the cache, or converted now (half a minute)."""
    target = cache_folder() / f"{path.stem}-{file_digest(path)[:16]}-v{CONVERSION}"
    if target.exists():
        return target
    log.info("converting %s, once", path.name)
    try:
        with whole_folder(target) as draft:
            _convert(path, draft)
    except UserError:
        if not target.exists():  # where it does, another process was faster
            raise
    return target


def _convert(path: Path, folder: Path) -> None:
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        fields = GGUFReader(path).fields
        pre = fields["tokenizer.ggml.pre"].contents() if "tokenizer.ggml.pre" in fields else None
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        hf = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    except (ValueError, OSError, KeyError, IndexError, RuntimeError) as error:
        raise UserError(f"{path.name!r} cannot be read as a GGUF checkpoint: {first_line(error)}") from None
    _restore_pre_tokenizer(tokenizer, pre, path.name)
    tokenizer.save_pretrained(folder)
    # transformers refuses to save what it takes for a quantised model; the weights are plain float32 now.
    if hasattr(hf.config, "quantization_config"):
        del hf.config.quantization_config
    hf.hf_quantizer, hf.quantization_method, hf.is_quantized = None, None, False
    hf.save_pretrained(folder)


def _restore_pre_tokenizer(tokenizer: Any, pre: str | None, name: str) -> None:
    """Put back how text is split before merging. The file names it, and the conversion of transformers loses it."""
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

    def split(pattern: str) -> PreTokenizer:
        return Sequence([Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)])

    digits = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    known = {
        "smollm": digits,
        "starcoder": digits,
        "gpt-2": ByteLevel(add_prefix_space=False),
        "llama-bpe": split(LLAMA_3),
        "qwen2": split(LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")),
    }
    if pre in known:
        tokenizer.backend_tokenizer.pre_tokenizer = known[pre]
    elif pre not in (None, "default"):
        log.warning(
            "%s splits text by %r, which is not known here; some tokens may differ from the original's",
            name,
            pre,
        )
