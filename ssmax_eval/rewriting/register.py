"""Our attentions under their own names in transformers, for anybody's script."""

from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from ssmax_eval.attention import ATTENTIONS
from ssmax_eval.checkpoint.config import carried
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.checkpoint.weights import brought
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting.rewriting import Rewriting, refuse_scaling_twice


def register() -> None:
    """Make every attention known to transformers by its name.

    Then `from_pretrained(x, attn_implementation="ssmax")` and `model.set_attn_implementation("lssar")` work, and so
    does plain `from_pretrained` of a folder that `convert` wrote. Parameters are those that the config carries or
    the weights bring, else the defaults for the checkpoint. Only `rewritten` proves that a model is rewritten
    faithfully: an architecture that never calls the attention interface cannot be noticed from here.
    """
    for name in ATTENTIONS:
        if name not in AttentionInterface._global_mapping:
            AttentionInterface.register(name, _Registered(name))
            AttentionMaskInterface.register(name, sdpa_mask)


class _Registered:
    """An attention function of transformers that finds its parameters by the config of the module calling it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._rewritings: WeakKeyDictionary[nn.Module, Rewriting] = WeakKeyDictionary()

    def __call__(self, module: nn.Module, *arguments: Any, **others: Any) -> tuple[Tensor, None]:
        if module not in self._rewritings:
            self._rewritings[module] = self._rewriting(getattr(module, "config", None), type(module).__name__)
        return self._rewritings[module].attend(module, *arguments, **others)

    def _rewriting(self, config: Any, caller: str) -> Rewriting:
        if config is None:
            raise UserError(f"{caller} has no config to read the parameters of {self.name!r} from; use rewritten()")
        plain = shape_of(config)
        shape = shape_of(config, None, _brought(config._name_or_path, plain.layers, plain.heads, plain.full))
        own = carried(config)
        wanted = own if isinstance(own, ATTENTIONS[self.name]) else ATTENTIONS[self.name]()
        settled = wanted.resolve(shape)
        if settled.log_scaled:
            refuse_scaling_twice(config)
        return Rewriting(settled, settled.rewrites(shape))


@lru_cache(maxsize=8)
def _brought(name: str, layers: int, heads: int, full: tuple[int, ...] | None) -> Any:
    """What the weights of a checkpoint bring, from its folder or the hub's cache on this machine."""
    if not name:
        return {}
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(name, allow_patterns=["*.safetensors"], local_files_only=True))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
            return {}
    return brought(folder, layers, heads, full)
