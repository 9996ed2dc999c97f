"""Models that scale their scores by log position on their own."""

from typing import Any

from ssmax_eval.errors import UserError

FIELDS = {
    "attn_temperature_tuning": "Llama 4",
    "log_scaling_n_floor": "Inkling",
    "llama_4_scaling_beta": "Ministral 3 and Devstral 2",
}
"""Fields of a config that make a model do so, and the family that they come from."""


def refuse_scaling_twice(config: Any) -> None:
    """Raise UserError when a model scales its queries by log position already."""
    text = config.get_text_config(decoder=True)
    settings = {**text.to_dict(), **(getattr(text, "rope_parameters", None) or {})}
    for name, family in FIELDS.items():
        if settings.get(name):
            raise UserError(
                f"this {text.model_type!r} model scales its queries by log position already "
                f"({name}, as in {family}); doing it once more would "
                "scale them twice, so only softmax can run here"
            )
