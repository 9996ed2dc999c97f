"""A checkpoint: where it is, what identifies it, and how it becomes a model in memory."""

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
)

from ssmax_eval.attention import Shape
from ssmax_eval.checkpoint import longrope
from ssmax_eval.checkpoint.complete import refuse_incomplete
from ssmax_eval.checkpoint.config import from_config, own_parameters, position_from_config
from ssmax_eval.checkpoint.fingerprint import code_digest, file_digest, folder_digest
from ssmax_eval.checkpoint.gguf import converted_folder
from ssmax_eval.checkpoint.places import first_line, folder_from_hub, gguf_file, local_folder
from ssmax_eval.checkpoint.rope import label as rope_label
from ssmax_eval.checkpoint.rope import override, refuse_without_effect
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.checkpoint.weights import from_weights, read_json, weight_files
from ssmax_eval.errors import UserError, shown
from ssmax_eval.positions import PositionMap

log = logging.getLogger(__name__)

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


TOKENIZERS = {"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model"}
"""Files that say that a checkpoint has a tokenizer."""


class DeviceAndDtype(NamedTuple):
    """Where a model is loaded to, and in which precision."""

    device: torch.device
    dtype: torch.dtype


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint and how to load it. Nothing slow happens before `load`."""

    name: str
    """A hub id, a local folder, a GGUF file, or a short name from PACKAGED."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: str = "auto"
    """One of DTYPES; "auto" is float32 on a CPU, and elsewhere what the checkpoint was saved in."""
    device: str = "auto"
    """A torch device; "auto" is the GPU where there is one."""
    device_map: str | None = None
    """How to spread a model over devices, as transformers has it."""
    rope_theta_scale: float = 1.0
    """Factor on the RoPE base θ (the SSMax paper takes 50 for its long evaluations)."""
    rope: str | None = None
    """Scaling of RoPE, such as "yarn:factor=4", "linear:factor=2", "longrope:factor=4,file=lists.json"."""
    train_length: int | None = None
    """Training length in tokens, where the config does not say or says it wrong."""
    trust_remote_code: bool = False
    """Run Python code that comes with the checkpoint."""
    allow_pickle: bool = False
    """Load weights in torch's pickle format, which can run any code."""

    @cached_property
    def folder(self) -> Path:
        """The local folder with the checkpoint's files; fetched from the hub, or converted, when first asked for."""
        if self._gguf is not None:
            return converted_folder(self._gguf)
        return local_folder(self.name) or folder_from_hub(
            self.name, self.revision, code=self.trust_remote_code, pickle=self.allow_pickle
        )

    @cached_property
    def _gguf(self) -> Path | None:
        return gguf_file(self.name)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the checkpoint's content (weights, config, tokenizer); the same wherever it lies."""
        return folder_digest(self.folder) if self._gguf is None else file_digest(self._gguf)

    @cached_property
    def label(self) -> str:
        """A short name for tables and folders."""
        path = Path(self.name)
        return path.stem if path.suffix == ".gguf" else path.name or path.resolve().name

    @property
    def rope_label(self) -> str:
        """How its RoPE is changed, for a column of results."""
        return rope_label(self.rope_theta_scale, self.rope)

    @cached_property
    def config(self) -> Any:
        """The transformers config, with the RoPE override applied."""
        config = self._plain_config()
        override(config, self.rope_theta_scale, self.rope)
        if not self.trust_remote_code and self._brings_code:
            log.warning("%s brings Python code of its own, which does not run; --trust-remote-code runs it", self.label)
        return config

    def _plain_config(self) -> Any:
        """Read the config as it lies in the folder."""
        folder = self.folder
        self._refuse_code_from_elsewhere()
        try:
            return AutoConfig.from_pretrained(
                folder,
                trust_remote_code=self.trust_remote_code,
                attn_implementation=None,  # a folder made by `convert` names ours, which is not registered here
            )
        except Exception as error:  # transformers and its validation raise many kinds for a broken config
            raise UserError(f"the config of {self.name!r} cannot be read: {' '.join(str(error).split())}") from None

    @cached_property
    def _brings_code(self) -> bool:
        """Whether the checkpoint names Python code for its config, model or tokenizer."""
        return any(read_json(self.folder / name).get("auto_map") for name in ("config.json", "tokenizer_config.json"))

    def _refuse_code_from_elsewhere(self) -> None:
        """Raise UserError where code of another repository would run: the identity of a run does not cover it."""
        for name in ("config.json", "tokenizer_config.json") if self.trust_remote_code else ():
            for place in _strings(read_json(self.folder / name).get("auto_map")):
                if "--" in place:
                    repository, _, cls = place.partition("--")
                    raise UserError(
                        f"{name} of {self.name!r} names code in another repository ({shown(repository)}), which may "
                        f"change; copy its Python files into the checkpoint's folder, and name {shown(cls)} alone"
                    )

    @property
    def _runs_code(self) -> bool:
        """Whether code of the checkpoint's own decides the numbers."""
        return self.trust_remote_code and (self._brings_code or any(self.folder.glob("custom_generate/*.py")))

    @cached_property
    def shape(self) -> Shape:
        """Layers, heads, training length, and the attention parameters in its config and weights."""
        if type(self.config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not getattr(self.config, "auto_map", None):
            raise UserError(
                f"{self.name!r} must be a causal language model; got a checkpoint of type {self.config.model_type!r}"
            )
        plain = shape_of(self.config, self.train_length)
        own = own_parameters(self.config)
        found = from_weights(self.folder, plain.layers, plain.heads, plain.full, own)
        attention = from_config(self.config, self.folder, trust_remote_code=self.trust_remote_code)
        return replace(plain, from_weights=found, from_config=attention)

    @cached_property
    def position(self) -> PositionMap | None:
        """The position map that its config names, None for the model's own positions."""
        return position_from_config(self.config)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, or None when the checkpoint has none. UserError when it has one that is broken."""
        self._refuse_code_from_elsewhere()
        files = sorted(file.name for file in self.folder.iterdir() if file.name in TOKENIZERS)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=self.trust_remote_code)
            size = len(tokenizer)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # many kinds for a broken file, and the panics of Rust
            if not files:
                log.debug("no tokenizer: %s", error)
                return None
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise UserError(f"the tokenizer of {self.name!r} ({', '.join(files)}) cannot be loaded: {reason}") from None
        if files and not size:
            raise UserError(f"the tokenizer of {self.name!r} ({', '.join(files)}) has no tokens")
        return tokenizer if size else None

    @cached_property
    def end_tokens(self) -> list[int]:
        """The tokens that end a text when the model writes: of generation_config.json, else of the config."""
        try:
            generation = GenerationConfig.from_pretrained(self.folder)
        except OSError:  # there is none
            generation = GenerationConfig.from_model_config(self.config)
        ends = generation.eos_token_id
        return [] if ends is None else sorted({ends} if isinstance(ends, int) else set(ends))

    @cached_property
    def device_and_dtype(self) -> "DeviceAndDtype":
        """What `load` will use."""
        device = _device(self.device)
        if self.dtype not in (*DTYPES, "auto"):
            raise UserError(f"unknown dtype {shown(self.dtype)}; known: auto, {', '.join(DTYPES)}")
        saved = getattr(self.config.get_text_config(decoder=True), "dtype", None) or torch.float32
        automatic = torch.float32 if device.type == "cpu" else saved
        return DeviceAndDtype(device, DTYPES.get(self.dtype, automatic))

    def identity(self) -> dict[str, Any]:
        """Return what decides the numbers, as plain values."""
        return {
            "fingerprint": self.fingerprint,
            "dtype": str(self.device_and_dtype.dtype).removeprefix("torch."),
            "rope_theta_scale": self.rope_theta_scale,
            **({"rope": self.rope, **longrope.digest(self.rope)} if self.rope else {}),
            **({"trust_remote_code": True, "code": code_digest(self.folder)} if self._runs_code else {}),
            "train_length": self.shape.train_length or None,
        }

    def load(self) -> PreTrainedModel:
        """Return the transformers model, in evaluation mode, with its own attention. UserError when it is broken."""
        device, dtype = self.device_and_dtype
        if not self.allow_pickle and not weight_files(self.folder):
            pickles = any(self.folder.glob("*.bin"))
            raise UserError(
                f"{self.name!r} has its weights as pickle only, which can run any code; --allow-pickle loads it anyway"
                if pickles
                else f"{self.name!r} holds no weights (model.safetensors, or shards and their index)"
            )
        quantised = getattr(self.config, "quantization_config", None) is not None
        device_map = self.device_map or ({"": device} if quantised else None)  # such weights cannot be moved later
        try:
            hf, info = AutoModelForCausalLM.from_pretrained(
                self.folder,
                config=self.config,
                dtype=dtype,
                device_map=device_map,
                trust_remote_code=self.trust_remote_code,
                use_safetensors=None if self.allow_pickle else True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused by name below; transformers only points at its log
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # transformers and safetensors raise many kinds for a broken checkpoint
            raise UserError(f"the weights of {self.name!r} cannot be loaded: {first_line(error)}") from None
        refuse_incomplete(self.name, self.folder, info, self.config, self.shape)
        if self.rope_label:
            with init_empty_weights():
                plain = AutoModelForCausalLM.from_config(self._plain_config(), trust_remote_code=self.trust_remote_code)
            refuse_without_effect(hf, plain, self.rope_label)
        vocabulary = hf.get_input_embeddings().num_embeddings
        if self.tokenizer is not None and len(self.tokenizer) > vocabulary:
            raise UserError(
                f"the tokenizer of {self.name!r} has {len(self.tokenizer)} tokens, its model only {vocabulary}"
            )
        return (hf if device_map else hf.to(device)).eval()


def _strings(content: Any) -> list[str]:
    """All texts in the values of an `auto_map`, which are texts, or lists of texts and null."""
    values = content.values() if isinstance(content, dict) else content if isinstance(content, list | tuple) else []
    return [content] if isinstance(content, str) else [text for value in values for text in _strings(value)]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"no such device {shown(name)} on this machine: {first_line(error)}") from None
    return device
