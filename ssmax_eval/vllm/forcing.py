"""Teacher forcing in vLLM: the tokens that come next whatever the model would choose."""

from typing import Any

from torch import Tensor
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

FORCED = "ssmax_eval_forced"
"""In `SamplingParams.extra_args`: the tokens to write."""


class Forcing(AdapterLogitsProcessor):  # type: ignore[misc]
    """Leave only the forced token of each step. Log-probabilities that vLLM gives are those from before."""

    def is_argmax_invariant(self) -> bool:
        """No: what is chosen changes."""
        return False

    @classmethod
    def validate_params(cls, params: Any) -> None:
        """Every request is taken."""

    def new_req_logits_processor(self, params: Any) -> Any:
        """Return what forces one request; None where nothing is forced."""
        tokens = (params.extra_args or {}).get(FORCED)
        if tokens is None:
            return None

        def force(written: list[int], logits: Tensor) -> Tensor:
            if len(written) < len(tokens):
                logits.fill_(-float("inf"))
                logits[tokens[len(written)]] = 0.0
            return logits

        return force
