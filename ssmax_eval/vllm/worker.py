"""What the engine asks of the processes in which vLLM runs a model."""

from collections import Counter
from typing import Any

from ssmax_eval.vllm.reading import read


class Extension:
    """Methods that vLLM adds to each of its workers, which the engine calls by name."""

    get_model: Any

    def ssmax_eval_use(self, entry: dict[str, Any]) -> None:
        """Run the attention that a config would hold as `entry`."""
        self.get_model().use(read(entry))

    def ssmax_eval_calls(self) -> dict[int, int]:
        """Return how often each layer has attended, layer -> calls, since the attention was chosen."""
        calls: Counter[int] = Counter()
        for scaling in self.get_model().scalings:
            calls[scaling.layer] += scaling.calls
        return dict(calls)
