"""How released checkpoints say in their config that they scale scores by position.

transformers keeps fields of a config that it does not know, and its classes do not read them. The model would then run
without a scaling that it was trained with. So a field that nobody reads is taken here, as an attention or a refusal.
"""

from typing import Any

from ssmax_eval.attention import Attention, SSMax
from ssmax_eval.attention.logn import LogN
from ssmax_eval.attention.released import Grok, Hype
from ssmax_eval.errors import UserError, shown

FAMILIES = {
    "attn_temperature_tuning": "Llama 4",
    "log_scaling_n_floor": "Inkling",
    "llama_4_scaling_beta": "Ministral 3 and Devstral 2",
    "attn_temperature_len": "Grok",
    "attn_logits_scaling": "HypeNet and MiniCPM-SALA",
    "scalable_softmax": "OLMo",
    "use_ssmax": "BiBo",
    "use_logn_attn": "Qwen 1",
}
"""Fields of a config that say so, and the family that they come from."""
IN_ROPE = ("llama_4_scaling_beta",)
"""Those that stand among the parameters of RoPE, where the classes of transformers that have them read them."""


def scales_itself(config: Any) -> str | None:
    """Return the field by which the code of a model scales its scores by position, or None."""
    settings = _settings(config)
    return next((name for name in FAMILIES if settings.get(name) and is_read(config, name)), None)


def is_read(config: Any, name: str) -> bool:
    """Whether the code of a model knows a field of its config: it is declared, or the code came with the checkpoint."""
    cls = type(config.get_text_config(decoder=True))
    return name in IN_ROPE or not cls.__module__.startswith("transformers.") or hasattr(cls, name)


def declared(config: Any) -> Attention | None:
    """Return the attention that fields of a config ask for which nobody else reads; None where there are none.

    UserError for a field whose meaning is not known here.
    """
    settings = _settings(config)
    unread = {name: value for name, value in settings.items() if value and not is_read(config, name)}
    if "softmax_scale" in unread:
        raise _unknown("softmax_scale", unread["softmax_scale"], config)
    if unread.get("scalable_softmax") or unread.get("use_ssmax"):
        return SSMax()
    if unread.get("use_logn_attn"):
        length = settings.get("seq_length")
        return LogN(n_train=length if isinstance(length, int) else None)
    if length := unread.get("attn_temperature_len"):
        return Grok(n_train=int(length))
    if (law := unread.get("attn_logits_scaling")) is not None:
        kind, _, number = str(law).partition(" ")
        if kind != "hype" or not number.isdigit():
            raise _unknown("attn_logits_scaling", law, config)
        return Hype(a=float(number))
    return None


def _settings(config: Any) -> dict[str, Any]:
    text = config.get_text_config(decoder=True)
    return {**text.to_dict(), **(getattr(text, "rope_parameters", None) or {})}


def _unknown(name: str, value: object, config: Any) -> UserError:
    kind = config.get_text_config(decoder=True).model_type
    return UserError(
        f"the config has {name}={shown(value)}, which the {kind!r} model of transformers does not read, so its numbers "
        "would be wrong; --trust-remote-code runs the checkpoint's own code, where it brings some"
    )
