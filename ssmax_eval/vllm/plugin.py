"""What the plugin tells vLLM when a process of it starts."""

from functools import wraps
from typing import Any

from vllm import ModelRegistry

from ssmax_eval.checkpoint.config import KEY, SERVED

MODEL = "ssmax_eval.vllm.served:SSMaxEvalForCausalLM"
"""Where the class of our architecture is; vLLM imports it when it is asked for."""
GUARDED = ("inspect_model_cls", "resolve_model_cls")
"""What vLLM finds the class of a model by."""


def install() -> None:
    """Register our architecture, and let no other one take a checkpoint that names an attention of ours."""
    ModelRegistry.register_model(SERVED, MODEL)
    for name in GUARDED:
        found = getattr(ModelRegistry, name)
        if not hasattr(found, "__wrapped__"):
            setattr(ModelRegistry, name, _guarded(found))


def _guarded(find: Any) -> Any:
    @wraps(find)
    def guarded(architectures: Any, model_config: Any) -> Any:
        named = [architectures] if isinstance(architectures, str) else list(architectures or [])
        entry = getattr(model_config.hf_config, KEY, None) or {}
        attention = entry.get("attention", "softmax")
        if attention != "softmax" and SERVED not in named:
            raise ValueError(
                f"the config of this checkpoint names the attention {attention!r}, but the architecture {named}, which "
                f"vLLM would serve as softmax; convert it again with ssmax-eval, or give "
                f'--hf-overrides \'{{"architectures": ["{SERVED}"]}}\''
            )
        return find(architectures, model_config)

    return guarded
