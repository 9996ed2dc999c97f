"""Gradient steps on s and b, each written down, so that a kill loses the step that it was in."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam

from ssmax_eval.errors import UserError
from ssmax_eval.model import Model
from ssmax_eval.train.calibration.factors import Factors, Values
from ssmax_eval.train.calibration.gradient import add_gradient, frozen, held, is_finite
from ssmax_eval.train.calibration.settings import Calibration
from ssmax_eval.train.calibration.table import Place

BETAS = (0.9, 0.99)
"""Decays of Adam's moments: there are a few dozen steps, so the second is shorter than usual."""


class Found(NamedTuple):
    """What a calibration came to."""

    values: Values
    about: dict[str, Any]
    """What is written down of it, as plain values."""


def fit(
    model: Model, asked: Calibration, factors: Factors, documents: Sequence[Tensor], weights: Tensor, place: Place,
    say: Any,
) -> Found:  # fmt: skip
    """Take the steps that are left: each lowers the mean loss of `asked.documents` of the documents, in their order.

    `weights` are those of the positions. UserError when the loss or its gradient is not finite.
    """
    coordinates = factors.zeros().requires_grad_()
    adam = Adam([coordinates], asked.lr, BETAS)
    losses = list[float]()
    if (state := place.kept()) is not None:
        coordinates.data.copy_(state["coordinates"])
        adam.load_state_dict(state["adam"])
        losses = state["losses"]
        say(f"Goes on from step {len(losses)} of {asked.steps}.")
    began, before = time.monotonic(), len(losses)
    with frozen(model):
        for step in range(before, asked.steps):
            loss = _gradient(
                model, factors, coordinates, documents[step * asked.documents :][: asked.documents], weights
            )
            assert coordinates.grad is not None
            if not is_finite(loss, coordinates.grad):
                raise UserError(f"the loss or its gradient is not finite at step {step + 1}; a lower --lr may help")
            adam.param_groups[0]["lr"] = asked.lr * (1 - step / asked.steps)
            adam.step()
            losses.append(round(loss, 6))
            place.keep({"coordinates": coordinates.detach(), "adam": adam.state_dict(), "losses": losses})
            left = (time.monotonic() - began) / (step + 1 - before) * (asked.steps - step - 1)
            say(f"step {step + 1}/{asked.steps}: loss {loss:.4f}; {left / 60:.1f} minutes left")
    return Found(factors.values(coordinates.detach()), {"losses": losses})


def _gradient(
    model: Model, factors: Factors, coordinates: Tensor, documents: Sequence[Tensor], weights: Tensor
) -> float:
    """Return the mean loss of documents, and leave its gradient in `coordinates.grad`."""
    leaves = Values(*(value.detach().requires_grad_() for value in factors.values(coordinates)))
    with held(model, leaves):
        loss = sum(add_gradient(model, ids, weights) for ids in documents) / len(documents)
    coordinates.grad = None
    gradients = [leaf.grad / len(documents) for leaf in leaves if leaf.grad is not None]
    torch.autograd.backward(list(factors.values(coordinates)), gradients)
    return loss
