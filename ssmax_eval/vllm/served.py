"""The architecture that the plugin gives to vLLM: vLLM's own model, with queries scaled before its attention.

vLLM builds the model of transformers and answers where that calls its attention function by name. The function under
that name, "vllm", is wrapped: in a module that this architecture marks, the query is scaled first.
"""

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size
from vllm.model_executor.models.transformers import TransformersForCausalLM

from ssmax_eval.attention import Attention
from ssmax_eval.checkpoint.shape import shape_of
from ssmax_eval.checkpoint.weights import parameter_of
from ssmax_eval.errors import UserError
from ssmax_eval.vllm.reading import refuse_model, served_attention
from ssmax_eval.vllm.scaling import Scaling

NAME = "vllm"
"""The name under which vLLM keeps its attention function in transformers."""
MARK = "ssmax_eval_scaling"
"""Where a module that attends keeps its `Scaling`."""


def wrap() -> None:
    """Wrap vLLM's attention function, once in a process."""
    attend = ALL_ATTENTION_FUNCTIONS[NAME]
    if hasattr(attend, MARK):
        return

    def scaled(module: Any, query: Tensor, *arguments: Any, **others: Any) -> Any:
        scaling = getattr(module, MARK, None)
        if scaling is not None:
            positions = others.get("position_ids")
            if positions is None or positions.ndim != 2:
                raise UserError(f"{type(module).__name__} does not tell its attention the position of each token")
            query = scaling(query, positions)
        return attend(module, query, *arguments, **others)

    setattr(scaled, MARK, True)
    ALL_ATTENTION_FUNCTIONS.register(NAME, scaled)


class SSMaxEvalForCausalLM(TransformersForCausalLM):  # type: ignore[misc]
    """A causal language model under the attention that its config names."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        model_config = vllm_config.model_config
        attention = served_attention(model_config.hf_config, model_config.model)
        super().__init__(vllm_config=vllm_config, prefix=prefix)
        wrap()
        self.use(attention)

    def use(self, attention: Attention) -> None:
        """Run another attention from now on. Keys and values that are cached were computed under the one before."""
        refuse_model(self.config, attention)
        shape = shape_of(self.config)
        layers, ranks = attention.rewrites(shape), get_tensor_model_parallel_world_size()
        self.scalings: list[Scaling] = []
        for module in self.model.modules():
            mine: Any = getattr(module, "attn", None)
            if not hasattr(mine, "sliding_window"):
                continue
            heads = mine.num_heads * ranks
            if heads != shape.heads:
                raise UserError(
                    f"layer {module.layer_idx} has {heads} heads on {ranks} ranks, the config says {shape.heads}; "
                    "give a --tensor-parallel that divides the heads"
                )
            if getattr(mine, "has_sink", False) and type(attention).__name__ != "Softmax":
                raise UserError("this model has attention sinks, which a scaled query does not scale")
            scaling = Scaling(
                attention if layers is None or module.layer_idx in layers else None,  # type: ignore[arg-type]
                module.layer_idx,
                heads,
                first=get_tensor_model_parallel_rank() * mine.num_heads,
                window=mine.sliding_window,
            )
            setattr(module, MARK, scaling)
            self.scalings.append(scaling)
        if not self.scalings:
            raise UserError(f"no layer of {type(self.model).__name__} attends through vLLM; nothing can be scaled")

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Load the weights; parameters of the attention among them were read before (see `served_attention`)."""
        loaded: set[str] = super().load_weights((name, w) for name, w in weights if parameter_of(name) is None)
        return loaded

    def _create_hf_to_vllm_mapper(self) -> None:
        """Map the names of weights as vLLM does for the architecture that the config would name without us."""
        ours = self.config.architectures
        self.config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING[type(self.config)].__name__]
        try:
            super()._create_hf_to_vllm_mapper()
        finally:
            self.config.architectures = ours
