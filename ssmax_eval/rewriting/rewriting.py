"""Put another attention into somebody else's model, for as long as a `with` block lasts.

transformers calls its attention through two registries: one for the function that attends, one for the function
that makes the mask. Both get an entry under a name of our own; nothing that is there is overwritten.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import finalize

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from ssmax_eval.attention import Attention, Extras, Shape, Softmax, Visible, parse
from ssmax_eval.attention.scaled import ScaledSoftmax
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting.backends import Backend, Seen, backend_of
from ssmax_eval.rewriting.calls import layer_of, narrowed, read_extras, read_mask, refuse_unhonoured

Probe = Callable[[int, Tensor, Tensor, Visible, float, Attention, Extras], None]
"""Called in every attention call with (layer, query, key, visible, scaling, attention, extras)."""

_numbers = itertools.count()


class Rewriting:
    """The attention that runs in a model, what it was called for, and a probe that may look at it."""

    def __init__(self, attention: Attention, layers: Collection[int] | None = None) -> None:
        self.attention = attention
        self.layers = layers
        """Layers that run `attention`, the others softmax; None: all."""
        self.learned: Mapping[str, str] = {}
        """Parameters of `attention` that are in training -> where the modules that attend hold theirs."""
        self.calls: Counter[int] = Counter()
        """How often each layer has attended."""
        self.backend: Backend | None = None
        """The model's own kernel, where the attention keeps it."""
        self.probe: Probe | None = None
        self.continuing = False
        """Whether queries come after keys in a cache that grows: causal rows then need no mask to say so."""

    def mask(self, *arguments: Any, **given: Any) -> Tensor | None:
        """transformers' mask function, without the mask of rows × keys that only says what `continuing` says."""
        asked = (given.get("attention_mask"), given.get("local_size"))
        whole = given["q_offset"] + given["q_length"] == given["kv_length"]
        if self.continuing and whole and asked == (None, None) and given.get("allow_is_causal_skip", True):
            return None
        made: Tensor | None = sdpa_mask(*arguments, **given)
        return made

    def attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """transformers' attention function: [B, H, T, D] in, [B, T, H, width of value] out."""
        given = {**others, "scaling": scaling, "dropout": dropout}
        rows, chosen, bias = query.shape[2], others.pop("indices", None), None
        visible: Visible
        if self.backend is not None and self.backend.takes(attention_mask):
            visible = self.backend.visible(attention_mask, query, key.shape[2], others)
            key, value = key[:, :, : visible.keys], value[:, :, : visible.keys]
        else:
            if attention_mask is None and 1 < rows < key.shape[2] and not self.continuing:
                # An empty static cache being filled: only its first entries hold keys.
                key, value = key[:, :, :rows], value[:, :, :rows]
            visible, bias = read_mask(attention_mask, rows, key.shape[2])
        extras = read_extras(others, bias)
        refuse_unhonoured(module, dropout, others)
        if chosen is not None:
            visible = narrowed(visible, chosen, query.device)
        scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
        layer = layer_of(module)
        attention = self._running(module, layer)
        attention.refuse_beyond(extras)
        self.calls[layer] += 1
        if self.probe is not None:
            self.probe(layer, query, key, visible, scaling, attention, extras)
        if self.backend is not None and isinstance(visible, Seen):
            if isinstance(attention, ScaledSoftmax):
                tensors = query, key, value, attention_mask
                done = self.backend.attend(attention, layer, extras, visible, module, tensors, given)
                if done is not None:
                    return done, None
            visible = visible.dense(query.device)
        also = {"extras": extras} if extras.named() else {}
        output = attention.forward(query, key, value, visible, scaling, layer, **also)
        return output.transpose(1, 2).contiguous(), None

    def _running(self, module: nn.Module, layer: int) -> Attention:
        """The attention of a layer, with the parameters that its module is learning."""
        if self.layers is not None and layer not in self.layers:
            return Softmax()
        if not self.learned:
            return self.attention
        values: dict[str, Any] = {name: getattr(module, place) for name, place in self.learned.items()}
        return replace(self.attention, **values)


@contextmanager
def rewritten(
    hf: PreTrainedModel,
    attention: str | Attention,
    *,
    shape: Shape | None = None,
    verify: bool = True,
    lasting: bool = False,
) -> Iterator[Rewriting]:
    """Run `hf` with another attention inside the block; leaving it restores the model, unless `lasting`.

    `attention` is a specification such as "ssmax:s=0.2", or an Attention. `shape` fills in the parameters that
    depend on the checkpoint; by default it is read from the model's config. With `verify`, a short forward pass
    first proves that the model is rewritten faithfully (see `canary`). UserError where it cannot be.
    """
    from ssmax_eval.rewriting.canary import verify_rewriting

    if not any(m._can_set_attn_implementation() for m in hf.modules() if isinstance(m, PreTrainedModel)):
        raise UserError(
            f"{type(hf).__name__} computes its attention by itself, past transformers' attention interface, "
            "so it cannot be rewritten"
        )
    chosen = parse(attention) if isinstance(attention, str) else attention
    shape = shape if shape is not None else shape_of(hf.config)
    settled = chosen.resolve(shape)
    if settled.log_scaled:
        refuse_scaling_twice(hf.config)
    rewriting = Rewriting(settled, settled.rewrites(shape))
    with _installed(hf, rewriting, lasting):
        if verify:
            verify_rewriting(hf, rewriting)
        yield rewriting


OWN_LOG_SCALING = {
    "attn_temperature_tuning": "Llama 4",
    "log_scaling_n_floor": "Inkling",
    "llama_4_scaling_beta": "Ministral 3 and Devstral 2",
}
"""Fields of a config that make a model scale its queries by log position, and where they come from."""


def refuse_scaling_twice(config: Any) -> None:
    """UserError when a model scales its scores by log position on its own."""
    text = config.get_text_config(decoder=True)
    settings = {**text.to_dict(), **(getattr(text, "rope_parameters", None) or {})}
    for name, family in OWN_LOG_SCALING.items():
        if settings.get(name):
            raise UserError(
                f"this {text.model_type!r} model scales its queries by log position already "
                f"({name}, as in {family}); doing it once more would "
                "scale them twice, so only softmax can run here"
            )


@contextmanager
def _installed(hf: PreTrainedModel, rewriting: Rewriting, lasting: bool) -> Iterator[None]:
    name, before = f"ssmax_eval_{next(_numbers)}", _implementations(hf)
    stays = False
    rewriting.backend = backend = backend_of(hf, rewriting.attention)
    if backend is not None:
        name += f"_{backend.name.rsplit('/')[-1]}"  # models ask whether the name has flash in it
    AttentionInterface.register(name, rewriting.attend)
    AttentionMaskInterface.register(name, rewriting.mask if backend is None else backend.mask)
    try:
        if backend is None:
            hf.set_attn_implementation(name)
        else:
            for config, implementation in before:
                if implementation == backend.configured:
                    config._attn_implementation_internal = name
        yield
        stays = lasting
    finally:
        if stays:
            finalize(hf, _forget, name)
        else:
            for config, implementation in before:
                config._attn_implementation_internal = implementation
            _forget(name)


def _forget(name: str) -> None:
    AttentionInterface._global_mapping.pop(name)
    AttentionMaskInterface._global_mapping.pop(name)


def _implementations(hf: PreTrainedModel) -> list[tuple[Any, str]]:
    configs = [module.config for module in hf.modules() if hasattr(module, "config")]
    configs += [getattr(hf.config, name) for name in hf.config.sub_configs]
    unique = {id(c): c for c in configs if hasattr(c, "_attn_implementation_internal")}
    return [(c, c._attn_implementation_internal) for c in unique.values()]
