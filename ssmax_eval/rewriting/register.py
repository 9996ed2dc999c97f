"""Our attentions under their own names in transformers, for anybody's script."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from ssmax_eval.attention import ATTENTIONS, Attention
from ssmax_eval.checkpoint.config import from_config, own_parameters, position_from_config
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.checkpoint.weights import from_weights
from ssmax_eval.errors import UserError
from ssmax_eval.positions import describe
from ssmax_eval.rewriting import seam
from ssmax_eval.rewriting.log_scaling import refuse_scaling_twice
from ssmax_eval.rewriting.rewriting import Rewriting

OWN = "ssmax_eval_own"
"""What the config of a checkpoint names whose attention is code in its own folder."""


def register(*, trust_remote_code: bool = False) -> None:
    """Make every attention known to transformers by its name.

    Then `from_pretrained(x, attn_implementation="ssmax")` and `model.set_attn_implementation("lssar")` work, and so
    does plain `from_pretrained` of a folder that `convert` wrote. Parameters are those in the checkpoint's config or
    weights, else the defaults for the checkpoint. Only `rewritten` proves that a model is rewritten faithfully: from
    here, an architecture that never calls the attention interface cannot be noticed. With `trust_remote_code`,
    checkpoints whose attention is code in their own folder load as well, and their code runs.
    """
    for name in (*ATTENTIONS, *([OWN] if trust_remote_code else ())):
        if not seam.is_registered(name):
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
        if (position := position_from_config(config)) is not None:
            raise UserError(
                f"the config of this model names a position map ({describe(position)}), which runs only where its RoPE "
                "has been proved: load the checkpoint with ssmax_eval.load"
            )
        plain, place = shape_of(config), seam.source_of(config)
        if plain.refusal is not None:
            raise UserError(plain.refusal)
        found = _from_weights(place, plain.layers, plain.heads, plain.full, own_parameters(config))
        shape = replace(plain, from_weights=found)
        own = from_config(config, Path(place) if place else None, trust_remote_code=self.name == OWN)
        wanted = own if own and (self.name == OWN or isinstance(own, ATTENTIONS[self.name])) else _fresh(self.name)
        resolved = wanted.resolve(shape)
        if resolved.log_scaled:
            refuse_scaling_twice(config)
        return Rewriting(resolved, resolved.rewrites(shape))


def _fresh(name: str) -> Attention:
    """An attention without any parameter given."""
    if name not in ATTENTIONS:
        raise UserError(f"{name!r} stands for the attention that the config names; the config of this model names none")
    return ATTENTIONS[name]()


@lru_cache(maxsize=8)
def _from_weights(name: str, layers: int, heads: int, full: tuple[int, ...] | None, own: frozenset[str]) -> Any:
    """Return the attention parameters in a checkpoint's weights, from its folder or the hub's cache on this machine."""
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
    return from_weights(folder, layers, heads, full, own)
