"""The files of a checkpoint that a converted copy of it needs; what else lies in its folder stays there."""

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.config import own_name, own_parameters
from ssmax_eval.checkpoint.own_code import files_of
from ssmax_eval.checkpoint.weights import parameter_of

COPIED = ("*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken", "*.py", "LICEN[CS]E*", "NOTICE*", "COPYING*")
"""Generation settings, tokenizer, the code of the model, licences."""
LEFT = ("config.json", "training.json", "trainer_state.json", "*.index.json", "*_results.json")
"""What is written anew, or says how a training went. Weights are copied by themselves."""
TEMPLATES = "additional_chat_templates"
RECORD = "training.json"
"""How weights were trained here. A copy keeps the recipe, which holds the words of the needles."""
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Where transformers looks for weights; it takes the first that is there."""


def copy_files(source: Checkpoint, folder: Path) -> None:
    """Copy all but weights and config: what loading reads, without the code of an attention that is replaced."""
    name = own_name(source.config)
    replaced = files_of(name, source.folder) if name else []
    for path in sorted({path for pattern in COPIED for path in source.folder.glob(pattern)}):
        left = any(path.match(pattern) for pattern in LEFT) or path.name.startswith(".")
        if path.is_file() and not left and path.resolve() not in replaced:
            shutil.copyfile(path, folder / path.name)
    if (templates := source.folder / TEMPLATES).is_dir():
        shutil.copytree(templates, folder / TEMPLATES)
    if (record := _record(source.folder / RECORD)) is not None:
        content = {"converted_from": source.fingerprint, "recipe": record["recipe"]}
        (folder / RECORD).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def copy_weights(source: Checkpoint, folder: Path, kept: Collection[str]) -> list[str]:
    """Copy the weights that transformers loads, and return the attention parameters that are left out.

    Those are the ones that are not in `kept`: nothing may find them and use them again.
    """
    own = own_parameters(source.config)
    lost: set[str] = set()
    for path in _weights(source.folder):
        keys = _keys(path) if path.suffix == ".safetensors" else []
        dropped = {key for key in keys if (name := parameter_of(key, own)) is not None and name not in kept}
        lost |= {name for key in dropped if (name := parameter_of(key, own)) is not None}
        if dropped:
            with safe_open(path, "pt") as file:
                if rest := {key: file.get_tensor(key) for key in keys if key not in dropped}:
                    save_file(rest, folder / path.name, file.metadata())
        elif path.name.endswith(".index.json"):
            content = json.loads(path.read_text(encoding="utf-8"))
            parameters = {key: parameter_of(key, own) for key in content["weight_map"]}
            for key, name in parameters.items():
                if name is not None and name not in kept:
                    del content["weight_map"][key]
            (folder / path.name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        else:
            shutil.copyfile(path, folder / path.name)
    return sorted(lost)


def _weights(folder: Path) -> list[Path]:
    """The files that transformers loads weights from: one, or an index and its shards."""
    first = next(folder / name for name in WEIGHTS if (folder / name).is_file())
    if not first.name.endswith(".index.json"):
        return [first]
    shards = json.loads(first.read_text(encoding="utf-8"))["weight_map"].values()
    return [first, *(folder / name for name in sorted(set(shards)))]


def _keys(path: Path) -> list[str]:
    with safe_open(path, "pt") as file:
        return list(file.keys())


def _record(path: Path) -> dict[str, Any] | None:
    """What a training here wrote down; None where there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "recipe" in content else None
