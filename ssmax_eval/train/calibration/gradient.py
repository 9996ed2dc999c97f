"""The loss of a document and its gradient for s and b, in memory that grows with layers x tokens and little else.

No weight of the model gets a gradient. Every layer keeps its input only and runs again in the backward pass, and the
head runs on a slice of positions at a time.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ssmax_eval.attention.functions import at_least_float32
from ssmax_eval.checkpoint.rope import forget_lengths
from ssmax_eval.model import Model
from ssmax_eval.model.model import HEAD_ROWS
from ssmax_eval.model.passes import answering
from ssmax_eval.rewriting.calls import layer_of
from ssmax_eval.train.calibration.factors import Values


def add_gradient(model: Model, ids: Tensor, weights: Tensor) -> float:
    """Return the weighted loss of a document in nats, and add its gradient to what `held` holds.

    `ids` are int64 [T], `weights` float64 [T - 1], one for each token that is predicted.
    """
    batch = ids[None].to(model.hf.device)
    forget_lengths(model.hf)
    output = model.body(input_ids=batch, use_cache=False)
    below = output[0]
    leaf = below.detach().requires_grad_()
    cut, total, end = type(output)(last_hidden_state=leaf), 0.0, len(ids) - 1
    for start in range(0, end, HEAD_ROWS):
        stop = min(start + HEAD_ROWS, end)
        logits = at_least_float32(model.logits(cut, start, stop)[0])
        wanted = batch[0, start + 1 : stop + 1, None].to(logits.device)
        losses = logits.logsumexp(-1) - logits.gather(-1, wanted)[:, 0]
        loss = (losses.double().cpu() * weights[start:stop]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    below.backward(leaf.grad)
    return total


@contextmanager
def held(model: Model, values: Values) -> Iterator[None]:
    """Inside the block, let every module that attends hold its s and b, so that they get gradients."""
    assert model.rewriting is not None
    rewriting = model.rewriting
    places: Mapping[str, str] = {name: f"ssmax_{name}" for name in values._fields}
    modules = list(rewriting.modules)
    for module in modules:
        for name, value in values._asdict().items():
            setattr(module, places[name], value[min(layer_of(module), len(value) - 1)])
    rewriting.learned = places
    try:
        yield
    finally:
        rewriting.learned = {}
        for module in modules:
            for place in places.values():
                delattr(module, place)


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Inside the block, no weight wants a gradient, and every layer runs again in the backward pass."""
    assert model.rewriting is not None
    wanted = [weight for weight in model.hf.parameters() if weight.requires_grad]
    for weight in wanted:
        weight.requires_grad_(False)
    try:
        with ExitStack() as stack:
            for layer in layers(model.hf, model.rewriting.modules):
                again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
                stack.enter_context(answering(layer, again))
            yield
    finally:
        for weight in wanted:
            weight.requires_grad_(True)


def layers(hf: nn.Module, attending: Any) -> list[nn.Module]:
    """Return the items of the model's lists of modules that hold a module that attends: its layers."""
    known: set[nn.Module] = set()
    found: list[nn.Module] = []
    for module in hf.modules():
        if isinstance(module, nn.ModuleList) and module not in known:
            inside = [layer for layer in module if any(part in attending for part in layer.modules())]
            found += inside
            known.update(part for layer in inside for part in layer.modules())
    return found


def is_finite(loss: float, gradient: Tensor) -> bool:
    """Whether a step can be made."""
    return bool(torch.tensor(loss).isfinite()) and bool(gradient.isfinite().all())
