"""Write a checkpoint whose config names its attention."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ssmax_eval.attention import Attention, Unrewritten, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.config import KEY, into_config
from ssmax_eval.errors import UserError
from ssmax_eval.files import whole_folder
from ssmax_eval.model.model import resolve, running


def convert(checkpoint: str | Checkpoint, attention: str | Attention, folder: str | os.PathLike[str]) -> Attention:
    """Copy a checkpoint to `folder`, with the attention, and any change of RoPE, written into its config.

    The weights are copied as they are. The folder loads by itself here, and in plain transformers after
    `register()`; without that, transformers says that it does not know the attention. Returns the attention with all
    parameters filled in. UserError when the checkpoint cannot be rewritten, or the folder is not empty.
    """
    source = Checkpoint(checkpoint) if isinstance(checkpoint, str) else checkpoint
    chosen = parse(attention) if isinstance(attention, str) else attention
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{str(target)!r} is not empty; give a new folder")
    if isinstance(chosen, Unrewritten):
        raise UserError("attention 'none' changes nothing, so there is nothing to convert")
    resolved = resolve(source, chosen)
    config = source.config
    for part in {id(part): part for part in (config, config.get_text_config(decoder=True))}.values():
        into_config(part, resolved)
    with running(source, source.load(), resolved) as model:
        resolved = model.attention
    with whole_folder(target) as draft:  # a copy without the config of its own would run as softmax
        shutil.copytree(source.folder, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        save_config(config, draft)
    return resolved


def save_config(config: Any, folder: Path) -> None:
    """Write a config that names an attention, so that transformers finds it by name after `register`."""
    config.save_pretrained(folder)
    if (name := getattr(config, KEY)["attention"]) != "softmax":
        path = folder / "config.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["attn_implementation"] = name
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
