"""The attention that runs in a model, as transformers calls it."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn
from transformers.masking_utils import sdpa_mask

from ssmax_eval.attention import Attention, Call, Softmax
from ssmax_eval.attention.scaled import scales_query
from ssmax_eval.positions import Mapped, PositionMap, Rotation
from ssmax_eval.rewriting.backends import Backend, Seen
from ssmax_eval.rewriting.calls import read_call
from ssmax_eval.rewriting.heads import Heads
from ssmax_eval.rewriting.places import Placer

Probe = Callable[[Attention, Call], None]
"""Is called with every call of attention, and with the attention that answers it."""
SOFTMAX = Softmax()
"""What attends in layers that are not rewritten."""


class Rewriting:
    """The attention that runs in a model, how often it was called, and a probe that may look at its calls."""

    def __init__(self, attention: Attention, layers: Collection[int] | None = None) -> None:
        self.attention = attention
        self.layers = layers
        """Layers that run `attention`, the others softmax; None: all."""
        self.learned: Mapping[str, str] = {}
        """Parameters of `attention` that are in training -> where the modules that attend hold theirs."""
        self.calls: Counter[int] = Counter()
        """How often each layer has attended."""
        self.modules: WeakSet[nn.Module] = WeakSet()
        """The modules that have attended."""
        self.backend: Backend | None = None
        """The model's own kernel, where the attention keeps it."""
        self.heads: Heads | None = None
        """The heads that this process has, where several hold the model."""
        self.position: PositionMap | None = None
        """The position map; None: every score is made at the model's own positions."""
        self.rotations: Mapping[int, Rotation | None] = {}
        """How each layer turns its queries and keys, where there is a position map."""
        self._placer = Placer()
        self.probe: Probe | None = None
        self.continuing = False
        """Whether queries come after keys in a cache that grows: causal rows then need no mask to say so."""

    @contextmanager
    def running(self, probe: Probe | None = None, *, continuing: bool = False) -> Iterator[None]:
        """Inside the block, let a probe see the calls; `continuing`: their queries come after keys that are cached."""
        self.probe, self.continuing = probe, continuing
        try:
            yield
        finally:
            self.probe, self.continuing = None, False

    def mask(self, *arguments: Any, **given: Any) -> Tensor | None:
        """Make the mask that transformers asks for; None where plain causal order, or `continuing`, says as much."""
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
        attention_mask: Any,
        scaling: float | None = None,
        dropout: float = 0.0,
        **others: Any,
    ) -> tuple[Tensor, None]:
        """Attend, as a function of transformers' interface: [B, H, T, D] in, [B, T, H, width of value] out."""
        call = read_call(
            *(module, query, key, value, attention_mask, scaling, dropout, others),
            backend=self.backend,
            continuing=self.continuing,
        )
        attention = self._running(module, call)
        attention.refuse_beyond(call.extras)
        self.calls[call.layer] += 1
        self.modules.add(module)
        if self.position is not None:
            places = self._placer.places(module, call.visible, attention_mask, others)
            call = replace(call, placed=Mapped(self.position, self.rotations[call.layer], places))
        if self.probe is not None:
            self.probe(attention, call)
        if self.backend is not None and isinstance(call.visible, Seen):
            if scales_query(attention):
                arguments = {**others, "scaling": scaling, "dropout": dropout}
                done = self.backend.attend(attention, call, module, attention_mask, arguments)
                if done is not None:
                    return done, None
            call = replace(call, visible=call.visible.dense(query.device))
        return attention.forward(call).transpose(1, 2).contiguous(), None

    def of_layer(self, layer: int) -> Attention:
        """Return the attention of a layer, with all its heads."""
        return self.attention if self.layers is None or layer in self.layers else SOFTMAX

    def _running(self, module: nn.Module, call: Call) -> Attention:
        """Return the attention of a call, with the parameters of its heads, or those that its module is learning."""
        attention = self.of_layer(call.layer)
        if self.heads is not None:
            return self.heads.part(attention, call.query.shape[1])
        if not self.learned or attention is not self.attention:
            return attention
        values: dict[str, Any] = {name: getattr(module, place) for name, place in self.learned.items()}
        return replace(self.attention, **values)
