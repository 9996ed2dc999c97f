"""A folder for vLLM: a checkpoint's own files, beside a config that names what it is to run."""

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ssmax_eval.attention import Attention
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.config import SERVED, into_config


@contextmanager
def staged(checkpoint: Checkpoint, attention: Attention) -> Iterator[Path]:
    """Give a folder whose config names an attention and the change of RoPE; all else in it are links.

    Any attention, also softmax, gets the architecture of the plugin, which can then change to another one.
    """
    config = copy.deepcopy(checkpoint.config)
    for part in {id(part): part for part in (config, config.get_text_config(decoder=True))}.values():
        into_config(part, attention)
    config.architectures = [SERVED]
    with tempfile.TemporaryDirectory(prefix="ssmax-eval-vllm-") as name:
        folder = Path(name)
        for path in checkpoint.folder.iterdir():
            if path.name != "config.json":
                (folder / path.name).symlink_to(path.resolve())
        config.save_pretrained(folder)
        yield folder
