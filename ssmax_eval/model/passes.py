"""A forward pass in pieces: it can be read on, or cut back and read on from there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from ssmax_eval.attention import Attention, Call
from ssmax_eval.checkpoint.devices import input_device
from ssmax_eval.checkpoint.rope import forget_lengths, length_dependent
from ssmax_eval.errors import UserError
from ssmax_eval.model.cache import LayerWithRoom, Stack, cache_for
from ssmax_eval.model.offloading import HERE, Keep
from ssmax_eval.rewriting.canary import difference, inputs
from ssmax_eval.rewriting.rewriting import Probe, Rewriting

Reduce = Callable[[Tensor], Tensor]
"""Makes something small of the attention weights [B, H, R, T] of one layer."""


class Pass:
    """One forward pass of the model below its head, and the tokens that it has read so far.

    With `room` (tokens) it keeps keys and values, where `keep` says: `read` may be called again, and `cut` takes
    tokens back. Where `resumable` says so, the numbers are those of one pass over everything. Without `room`, it reads
    once.
    """

    def __init__(
        self,
        hf: PreTrainedModel,
        rewriting: Rewriting | None,
        *,
        room: int = 0,
        body: nn.Module | None = None,
        keep: Keep = HERE,
    ) -> None:
        forget_lengths(hf)
        self.hf, self.rewriting, self.body = hf, rewriting, body_of(hf) if body is None else body
        self.cache = cache_for(hf.config, room, keep) if room else None
        self.ids = torch.empty(0, 0, dtype=torch.long)
        """Tokens read, int64 [B, length]."""
        self.rows: list[int] = []
        """Rows whose queries are kept, because their weights will be looked at."""
        self._queries: dict[int, Tensor] = {}

    @property
    def length(self) -> int:
        """Tokens read so far."""
        return self.ids.shape[1]

    def shared(self, ids: Tensor, rows: Sequence[int] = ()) -> int:
        """Return how many tokens of ids [B, T] are read already, with the queries of all `rows` among them kept."""
        if self.cache is None or len(self.ids) != len(ids):
            return 0
        both = min(self.length, ids.shape[1])
        same = (self.ids[:, :both] == ids[:, :both]).all(0)
        count = int(same.long().cumprod(0).sum())
        return min([count, *(row for row in rows if row < count and row not in self.rows)])

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if length == self.length:
            return
        assert self.cache is not None
        self.cache.crop(length - self.length)
        self.ids = self.ids[:, :length]
        self.rows = [row for row in self.rows if row < length]
        self._queries = {layer: query[:, :, : len(self.rows)] for layer, query in self._queries.items()}

    def read(self, ids: Tensor, rows: Sequence[int] = (), reduce: Reduce | None = None) -> tuple[Any, list[Tensor]]:
        """Read on by ids [B, T]: return the model's output below its head for them, and `reduce` of each layer.

        `rows` are counted from the first token of all, in order. The queries of those among `ids` are kept. With
        `reduce`, the weights of all `rows` on all tokens so far are computed, from the queries and keys of the calls
        that attended; no other weights are.
        """
        if reduce is not None and self.rewriting is None:
            raise UserError(
                f"{type(self.hf).__name__} runs as it is, which shows none of its attention; to look into it, "
                "give an attention such as softmax"
            )
        start, looked_at = self.length, dict[int, Tensor]()
        heads = self.rewriting.heads if self.rewriting is not None else None
        here = sorted({row - start for row in rows if start <= row < start + ids.shape[1]})
        self.rows = self.rows + [start + row for row in here]
        self.ids = torch.cat((self.ids, ids), 1) if start else ids

        def probe(attention: Attention, call: Call) -> None:
            layer, kept = call.layer, call.query[:, :, here]
            kept = torch.cat((self._queries[layer], kept), 2) if layer in self._queries else kept
            self._queries[layer] = kept
            if reduce is not None:
                chosen = kept[:, :, [self.rows.index(row) for row in rows]]
                at = torch.tensor(rows, device=chosen.device) - start
                weights = attention.weights(call.at(at, chosen))
                looked_at[layer] = reduce(weights if heads is None else heads.all(weights)).cpu()

        output = self._run(ids, probe if rows else None, start)
        if reduce is not None and not looked_at:
            raise RuntimeError("another rewriting of the same model is in force; use its Model instead")
        return output, [looked_at[layer] for layer in sorted(looked_at)]

    def _run(self, ids: Tensor, probe: Probe | None, start: int) -> Any:
        if self.rewriting is None:
            return self.body(input_ids=ids, use_cache=False)
        memory = {} if self.cache is None else {"past_key_values": self.cache}
        with self.rewriting.running(probe, continuing=start > 0):
            return self.body(input_ids=ids, use_cache=self.cache is not None, **memory)


class Read(NamedTuple):
    """What reading a text gave."""

    hidden: Any
    """The model's output below its head, for the last piece of the text."""
    start: int
    """The first token of that piece."""
    looked_at: list[Tensor]
    """What `reduce` made of each layer's attention weights."""


class Reader:
    """Reads texts one after the other. What a text shares with the beginning of the one before it is run once."""

    def __init__(
        self, begin: Callable[[int, int], Pass], chunk: Callable[[Tensor], int | None], *, share: bool
    ) -> None:
        self._begin, self._chunk, self._share = begin, chunk, share
        self._pass: Pass | None = None

    def read(self, ids: Tensor, last: int, rows: Sequence[int] = (), reduce: Reduce | None = None) -> Read:
        """Read texts [B, T]. The last piece has at least their `last` tokens. `rows` and `reduce` as in `Pass.read`."""
        length, chunk = ids.shape[1], self._chunk(ids)
        keep = self._share or chunk is not None
        known = min(self._pass.shared(ids, rows), length - last) if self._pass and keep else 0
        if self._pass and known:
            self._pass.cut(known)
        else:
            self._pass = None  # its memory is free before more is taken
            self._pass = self._begin(len(ids), length if keep else 0)
        for start, stop in pieces(known, length, chunk, last):
            hidden, looked_at = self._pass.read(ids[:, start:stop], rows, reduce if stop == length else None)
        return Read(hidden, start, looked_at)

    @property
    def cache(self) -> DynamicCache:
        """Keys and values of the text that was read last, where reading is shared."""
        assert self._pass is not None
        assert self._pass.cache is not None
        return self._pass.cache


class _ReachedError(Exception):
    """The body of a model was called."""


@torch.inference_mode()
def body_of(hf: PreTrainedModel) -> nn.Module:
    """Return the part of a model below its head: what its forward calls for hidden states. UserError without one.

    Usually that is `base_model`; OPT and Whisper call the decoder inside of it.
    """

    def reached(*_: Any, **__: Any) -> None:
        raise _ReachedError

    parts: tuple[nn.Module, nn.Module] = (hf.base_model, hf.get_decoder())
    for part in parts:
        with answering(part, reached):
            try:
                hf(input_ids=torch.zeros(1, 1, dtype=torch.long, device=input_device(hf)), use_cache=False)
            except _ReachedError:
                return part
    raise UserError(f"{type(hf).__name__} has no part that computes hidden states, so logits cannot be made in slices")


@contextmanager
def answering(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Inside the block, make `module` answer with `forward` instead of its own."""
    own = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own


@torch.inference_mode()
def resumable(hf: PreTrainedModel, rewriting: Rewriting) -> bool:
    """Whether a pass over this model can be read in pieces and cut back without a change in its numbers.

    Every layer must keep all its keys and nothing else, and be plainly causal. That rules out a window that drops
    keys, a recurrent state, keys shared between layers and biases by position. Then a few tokens are read both ways.
    """
    if length_dependent(hf.config):
        return False
    ids, changed = inputs(hf)
    plain: list[bool] = []

    def probe(_: Attention, call: Call) -> None:
        visible, extras = call.visible, call.extras
        sink = extras.sink is None or extras.sink.shape[2] == 1
        plain.append(visible.mask is None and visible.keys == call.key.shape[2] and extras.bias is None and sink)

    half = ids.shape[1] // 2
    first = Pass(hf, rewriting, room=ids.shape[1])
    try:
        for piece in (ids[:, :half], changed[:, half:]):
            first._run(piece, probe, first.length)
            first.ids = torch.cat((first.ids, piece), 1) if first.length else piece
            layers = first.cache.layers if first.cache is not None else []
            if not (plain and all(plain) and layers and len(plain) % len(layers) == 0):
                return False
            if any(not isinstance(layer, LayerWithRoom) or layer.get_seq_length() != first.length for layer in layers):
                return False
        first.cut(half)
        pieces = first.read(ids[:, half:])[0][0]
    except (UserError, TypeError, ValueError, AttributeError, NotImplementedError):
        return False
    whole = Pass(hf, rewriting).read(ids)[0][0]
    return alike(pieces, whole[:, half:])


@torch.inference_mode()
def paddable(hf: PreTrainedModel, rewriting: Rewriting, body: nn.Module) -> bool:
    """Whether texts of several lengths can be read on together, the shorter ones behind columns that hold nothing.

    A model may count its positions from another number than 0, or take none. So a token is read on both ways. The
    model must be `resumable`.
    """
    ids, _ = inputs(hf)
    last, padding = ids.shape[1] - 1, 3
    first = Pass(hf, rewriting, room=last, body=body)
    first.read(ids[:, :last])
    assert first.cache is not None
    stack = Stack(hf.config, first.cache, rows=1, length=last + padding, room=1)
    stack.add(first.cache)
    try:
        padded = read_on(body, rewriting, stack, ids[:, last:])[0]
    except (UserError, TypeError, ValueError, AttributeError, NotImplementedError):
        return False
    return alike(padded, Pass(hf, rewriting, body=body).read(ids)[0][0][:, last:])


def read_on(body: nn.Module, rewriting: Rewriting, stack: Stack, ids: Tensor) -> Any:
    """Read on by a token of each text in a stack, ids [B, 1]: return the model's output below its head."""
    with rewriting.running(continuing=True):
        return body(input_ids=ids, past_key_values=stack.cache, use_cache=True, **stack.places(ids.device))


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether two hidden states differ by rounding only."""
    bound = {torch.float64: 1e-10, torch.float32: 1e-4}.get(b.dtype, 2e-2)
    return bool(difference(a, b) < bound)


def pieces(start: int, stop: int, size: int | None, last: int = 1) -> Iterator[tuple[int, int]]:
    """Yield tokens start … stop−1 in pieces of at most `size`, except that the final one has at least `last`."""
    while size is not None and stop - start > max(size, last):
        end = min(start + size, stop - last)
        yield start, end
        start = end
    yield start, stop
