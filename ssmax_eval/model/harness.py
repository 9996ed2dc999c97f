"""A model as lm-evaluation-harness takes it: an `HFLM` whose attention may be rewritten."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ssmax_eval.attention import Attention
from ssmax_eval.checkpoint.parallel import processes
from ssmax_eval.errors import UserError
from ssmax_eval.model import load
from ssmax_eval.model.model import Model

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM


def lm(
    checkpoint: str | Model,
    attention: str | Attention = "auto",
    *,
    batch_size: int = 1,
    max_length: int | None = None,
    **loading: Any,
) -> "HFLM":
    """Return a checkpoint under an attention as a model of lm-evaluation-harness.

    `checkpoint`, `attention` and `loading` are as in `load`; or `checkpoint` is a `Model` that is in memory, for as
    long as it is rewritten. `batch_size` is how many requests run together; `max_length` is how many tokens the model
    may see (default: what its config says). UserError where the harness is not installed.

    Example:
        >>> lm_eval.simple_evaluate(ssmax_eval.lm("org/model", "ssmax"), tasks=["arc_easy"])
    """
    refuse_without_harness()
    from lm_eval.models.huggingface import HFLM

    if processes().count > 1:
        raise UserError("lm-evaluation-harness cannot measure a model that several processes hold; give device_map")
    model = checkpoint if isinstance(checkpoint, Model) else load(checkpoint, attention, **loading)
    refuse_tokenizer(model.tokenizer)
    tokenizer = copy.deepcopy(model.tokenizer)  # the harness gives it a token to pad with
    with quiet():
        return HFLM(pretrained=model.hf, tokenizer=tokenizer, batch_size=batch_size, max_length=max_length)


def longest_input(config: Any, tokenizer: Any) -> int:
    """Return how many tokens the harness lets a model see, by its config and tokenizer."""
    from lm_eval.models.utils import resolve_max_length

    return int(resolve_max_length(config, tokenizer))


def refuse_without_harness() -> None:
    """Raise UserError where lm-evaluation-harness is not installed."""
    if find_spec("lm_eval") is None:
        raise UserError("lm-evaluation-harness is not installed; pip install 'ssmax-eval[harness]'")


def refuse_tokenizer(tokenizer: Any) -> None:
    """Raise UserError for a tokenizer that the harness cannot work with."""
    if tokenizer.bos_token_id is None and tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer of this checkpoint has no token that begins or ends a text; lm-evaluation-harness needs one"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the harness from printing, warning and showing bars, inside the block."""
    log = logging.getLogger("lm_eval")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
