"""A few texts that must come out right before vLLM measures anything."""

import torch
from torch import Tensor

from ssmax_eval.attention import Softmax, SSMax, describe
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.memory import SHARE, available
from ssmax_eval.model import Question, running
from ssmax_eval.vllm.engine import Engine
from ssmax_eval.vllm.model import Served

DECODED = 8
"""Tokens of each text that are read one by one, after the others."""
LENGTH = 160
"""Tokens of a text where the longest context has room for it: more than a block of vLLM's cache."""
SMALL = 4 << 30
"""Bytes of weights up to which the same checkpoint is loaded in transformers, too."""
EXACT = (torch.float64, torch.float32)
MOST, MEAN = 1e-2, 1e-4
"""How far a log-probability and their mean may be off in these dtypes, in nats. On random tokens of SmolLM2-135M under
SSMax, float32 is by itself up to 7e-4 and in the mean 7e-6 from float64; an error of the rule shows in the mean."""
ROUGH_MOST, ROUGH_MEAN = 0.3, 0.05
"""The same in other dtypes."""


def verify(served: Served) -> str:
    """Prove on a few texts that vLLM computes the definition, and return how. UserError otherwise.

    Log-probabilities agree for prompts that are read in pieces, for prompts whose beginning is cached, and for tokens
    that are decoded. For a small checkpoint they are those of transformers under the same attention; for a larger one
    a factor of 1 gives softmax, and the attention gives something else where its factor is not 1.
    """
    engine, name = served.engine, describe(served.attention)
    texts = _texts(engine)
    losses = served.token_losses(texts)
    for worker in engine.calls():
        if never := sorted(layer for layer, calls in worker.items() if not calls):
            raise UserError(f"vLLM did not call the scaled attention in layer {never[0]}; {name} cannot be measured")
    if _bytes(engine.checkpoint) <= min(SMALL, SHARE * available(torch.device("cpu"))):
        with running(engine.checkpoint, engine.checkpoint.load(), served.attention) as model:
            expected = model.token_losses(texts)
        _refuse_apart(engine, losses, expected, f"transformers does under {name}, in prompts")
        how = "agrees with transformers"
    else:
        _by_softmax(served, texts, losses)
        how = "differs from softmax as it must"
    engine.forget()
    for what in ("decoded tokens", "decoded tokens after a cached prompt"):
        (answer,) = served.answers([Question(texts, DECODED)])
        _refuse_apart(engine, -answer.logprobs, losses[:, -DECODED:], f"in prompts under {name}, for {what}")
    return how


def _by_softmax(served: Served, texts: Tensor, losses: Tensor) -> None:
    """Compare with softmax in vLLM. What every row sees of 1 key is the same under all attentions."""
    engine, attention = served.engine, served.attention
    engine.use(Softmax())
    softmax = served.token_losses(texts)
    engine.use(SSMax(s=0.0, b=1.0))
    _refuse_apart(engine, served.token_losses(texts), softmax, "softmax does where the factor is 1")
    engine.use(attention)
    n = torch.arange(1, texts.shape[1]).float()[None, None, :, None]
    factor = attention.factor(n, 0)  # type: ignore[attr-defined]
    if factor is None or bool(((factor - 1).abs() < 0.02).all()):
        _refuse_apart(engine, losses, softmax, "softmax does where the factor is 1")
    elif float((losses - softmax)[:, 1:].abs().max()) < 1e-3:
        raise UserError(f"{describe(attention)} gives what softmax gives in vLLM, so its factor was lost")


def _texts(engine: Engine) -> Tensor:
    """Return random texts, int64 [B, T]: so many that they do not run through the layers in one piece."""
    length = min(LENGTH, engine.longest - DECODED)
    count = max(2, engine.chunk // length + 2)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(int(engine.checkpoint.config.vocab_size), (count, length), generator=generator)


def _bytes(checkpoint: Checkpoint) -> int:
    return sum(path.stat().st_size for path in checkpoint.folder.glob("*.safetensors"))


def _refuse_apart(engine: Engine, found: Tensor, expected: Tensor, what: str) -> None:
    """Raise UserError where log-probabilities differ by more than rounding."""
    apart = (found.double() - expected.double()).abs()
    dtype = engine.checkpoint.device_and_dtype.dtype
    most, mean = float(apart.max()), float(apart.mean())
    bounds = (MOST, MEAN) if dtype in EXACT else (ROUGH_MOST, ROUGH_MEAN)
    if not (most <= bounds[0] and mean <= bounds[1]):  # nan too
        raise UserError(
            f"vLLM does not compute what {what} (log-probabilities differ by {most:.2g}, in the mean by {mean:.2g}); "
            "it is refused"
        )
