"""Write a checkpoint whose config names its attention."""

import copy
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ssmax_eval.attention import Attention, Unrewritten, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.config import into_config, own_name
from ssmax_eval.checkpoint.own_code import own_code
from ssmax_eval.errors import UserError
from ssmax_eval.files import whole_folder
from ssmax_eval.model.card import Conversion, write_card
from ssmax_eval.model.copying import copy_files, copy_weights
from ssmax_eval.model.model import resolve, resolve_position, running
from ssmax_eval.positions import PositionMap
from ssmax_eval.positions.label import COLUMN
from ssmax_eval.rewriting.register import OWN


def convert(
    checkpoint: str | Checkpoint,
    attention: str | Attention,
    folder: str | os.PathLike[str],
    *,
    position: str | PositionMap | None = "auto",
) -> Attention:
    """Copy a checkpoint to `folder`, with attention, position map and any change of RoPE written into its config.

    The copy holds what loading it reads, and a card that says what was converted. Weights stay as they are; numbers
    that another attention had learned are left out. The folder loads by itself here, and in plain transformers after
    `register()`; without that, transformers says that it does not know the attention. With a position map (`position`,
    as in `load`) it loads here alone, since plain transformers cannot prove how the model turns its keys. An attention
    of your own brings its code, which runs with `trust_remote_code`. Returns the attention with all parameters filled
    in. UserError when the checkpoint cannot be rewritten, or the folder is not empty.
    """
    source = Checkpoint(checkpoint) if isinstance(checkpoint, str) else checkpoint
    chosen = parse(attention) if isinstance(attention, str) else attention
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{str(target)!r} is not empty; give a new folder")
    if isinstance(chosen, Unrewritten):
        raise UserError("attention 'none' changes nothing, so there is nothing to convert")
    resolved, placed = resolve(source, chosen), resolve_position(source, position)
    code = own_code(type(resolved))
    into_config(copy.deepcopy(source.config), resolved, placed)  # raises what no config can hold
    with running(source, source.load(), resolved, placed) as model:
        resolved = model.attention
    named = _without_tables(resolved, source)
    kept = {name for name in source.shape.from_weights if getattr(named, name, 0) is None}
    config = copy.deepcopy(source.config)
    for part in {id(part): part for part in (config, config.get_text_config(decoder=True))}.values():
        into_config(part, named, placed)
    try:
        with whole_folder(target) as draft:  # a copy without the config of its own would run as softmax
            copy_files(source, draft)
            lost = copy_weights(source, draft, kept)
            if code is not None:
                code.write(draft)
            given = attention if isinstance(attention, str) else None
            write_card(draft, Conversion(source, resolved, given, target, kept, lost, placed))
            save_config(config, draft)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {str(target)!r}: {getattr(error, 'strerror', None) or error}") from None
    return resolved


def save_config(config: Any, folder: Path) -> None:
    """Write a config that names an attention, so that transformers finds it by name after `register`."""
    config.save_pretrained(folder)
    name = OWN if own_name(config) else config.ssmax_eval["attention"]
    if name != "softmax" or COLUMN in config.ssmax_eval:
        path = folder / "config.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["attn_implementation"] = name
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _without_tables(resolved: Attention, source: Checkpoint) -> Attention:
    """The attention as a config names it: parameters that the weights hold are None there, and found in them."""
    tables: dict[str, Any] = {
        name: None for name, table in source.shape.from_weights.items() if getattr(resolved, name, None) == table
    }
    named = replace(resolved, **tables)
    return named if named.resolve(source.shape) == resolved else resolved
