"""Rotary position embedding, changed when a checkpoint is loaded."""

from typing import Any

from ssmax_eval.errors import UserError, shown, unknown

LARGEST = 1e9
"""Largest factor on the base, and largest setting of a scaling."""
KINDS = {
    "linear": {"factor"},
    "dynamic": {"factor"},
    "yarn": {"factor", "attention_factor", "beta_fast", "beta_slow"},
}
"""Kinds of scaling, and their settings."""


def override(config: Any, theta_scale: float, scaling: str | None) -> None:
    """Change the RoPE of a transformers config: its base times `theta_scale`, and `scaling` such as "yarn:factor=4".

    Where layers with a window have a table of their own, `scaling` leaves that as it is. UserError when the model
    has no RoPE, or is scaled already.
    """
    if theta_scale == 1.0 and scaling is None:
        return
    if not 0 < theta_scale <= LARGEST:  # nan too
        raise UserError(f"the factor on the RoPE base must be above 0 and at most {LARGEST:g}; got {theta_scale}")
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or {}
    tables = {"": rope} if "rope_theta" in rope else {
        name: table for name, table in rope.items() if isinstance(table, dict) and "rope_theta" in table
    }  # fmt: skip
    if not tables:
        raise UserError(f"this {text.model_type!r} checkpoint has no RoPE to change; leave out the RoPE options")
    for table in tables.values():
        table["rope_theta"] *= theta_scale
    if scaling is None:
        return
    kind, settings = _parsed(scaling)
    for name, table in tables.items():
        if name.startswith("sliding"):
            continue
        if (there := table.get("rope_type", "default")) != "default":
            raise UserError(f"the RoPE of this checkpoint is scaled already ({there}); {scaling!r} would replace that")
        if name and kind == "dynamic":
            raise UserError("dynamic scaling of RoPE is not supported where some layers have a table of their own")
        table |= {"rope_type": kind, **settings}
        if kind == "yarn":
            table["original_max_position_embeddings"] = text.max_position_embeddings


def refuse_length_dependence(config: Any, length: int) -> None:
    """Raise UserError where the angles of a token depend on tokens that come after it, as with dynamic NTK."""
    text = config.get_text_config(decoder=True)
    for table in (t for t in _tables(text) if t.get("rope_type") == "dynamic"):
        if length > (table.get("original_max_position_embeddings") or text.max_position_embeddings):
            raise UserError(
                "dynamic NTK turns every token by an angle that depends on the length of the whole text, so one pass "
                "gives no loss by position beyond the training length; scale by yarn or linear instead"
            )


def length_dependent(config: Any) -> bool:
    """Whether the angles of any layer depend on the length of the whole text (dynamic NTK and LongRoPE)."""
    kinds = [str(table.get("rope_type")) for table in _tables(config.get_text_config(decoder=True))]
    return any("dynamic" in kind or kind == "longrope" for kind in kinds)


def _tables(text: Any) -> list[dict[str, Any]]:
    """Return the RoPE parameters of a text config: one table, or one for each kind of layer."""
    rope = getattr(text, "rope_parameters", None) or {}
    return [rope, *(table for table in rope.values() if isinstance(table, dict))]


def forget_lengths(hf: Any) -> None:
    """Undo what dynamic NTK remembers of the longest text so far, so that each text has its own angles."""
    for module in hf.modules():
        if getattr(module, "rope_type", None) == "dynamic" and hasattr(module, "original_inv_freq"):
            module.register_buffer("inv_freq", module.original_inv_freq.to(module.inv_freq.device), persistent=False)
            module.max_seq_len_cached = module.original_max_seq_len


def label(theta_scale: float, scaling: str | None) -> str:
    """Return what was changed, for a column of results; empty when nothing was."""
    return " ".join(filter(None, ["" if theta_scale == 1.0 else f"base x{theta_scale:g}", scaling]))


def _parsed(scaling: str) -> tuple[str, dict[str, float]]:
    kind, _, rest = scaling.partition(":")
    if kind not in KINDS:
        raise unknown("RoPE scaling", kind, KINDS)
    settings: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        key, _, text = part.partition("=")
        if key not in KINDS[kind]:
            raise unknown(f"setting of RoPE scaling {kind!r}:", key, KINDS[kind])
        try:
            settings[key] = float(text)
        except ValueError:
            raise UserError(f"{key!r} of RoPE scaling {kind!r} must be a number; got {shown(text)}") from None
        if not 0 <= settings[key] <= LARGEST:
            raise UserError(f"{key!r} of RoPE scaling {kind!r} must be 0 to {LARGEST:g}; got {shown(text)}")
    if settings.get("factor", 0.0) < 1.0:
        raise UserError(f"RoPE scaling {kind!r} needs a factor of 1 or more, as in {kind}:factor=4")
    return kind, settings
