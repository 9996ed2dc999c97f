"""Rotary position embedding, changed when a checkpoint is loaded."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ssmax_eval.checkpoint import longrope
from ssmax_eval.errors import UserError, shown, unknown

LARGEST = 1e9
"""Largest factor on the base, and largest setting of a scaling."""
KINDS = {
    "linear": {"factor"},
    "dynamic": {"factor"},
    "yarn": {"factor", "attention_factor", "beta_fast", "beta_slow"},
    "longrope": {"factor", "attention_factor", "file"},
}
"""Kinds of scaling, and their settings."""
DEPENDENT = {"dynamic": "dynamic NTK", "longrope": "LongRoPE"}
"""Part of the name of a kind of scaling whose angles depend on the length of the whole text -> what it is called."""
PROBE = 32
"""Tokens that run to see whether a change of RoPE changes anything."""


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
    if kind == "longrope":
        longrope.refuse_other_number(text, {name: settings[name] for name in longrope.LISTS})
    for name, table in tables.items():
        if name.startswith("sliding"):
            continue
        if (there := table.get("rope_type", "default")) != "default":
            raise UserError(f"the RoPE of this checkpoint is scaled already ({there}); {scaling!r} would replace that")
        if name and kind in DEPENDENT:
            raise UserError(f"{kind} scaling of RoPE is not supported where some layers have a table of their own")
        table |= {"rope_type": kind, **settings}
        if kind in ("yarn", "longrope"):
            table["original_max_position_embeddings"] = text.max_position_embeddings


class Table(NamedTuple):
    """What one rotary module turns its tokens by."""

    frequencies: dict[str, Tensor]
    """Its buffers of inverse frequencies, by name: one, or one for each kind of layer."""
    scaling: dict[str, Any]
    """Its factors on cosines and sines, by name."""
    kind: Any
    """Its kind of scaling: one, or one for each kind of layer."""


def tables_of(hf: nn.Module) -> dict[str, Table]:
    """Return the table of every rotary module in a model, by the module's name."""
    tables = {}
    for name, module in hf.named_modules():
        frequencies = {key: x for key, x in module.named_buffers(recurse=False) if key.endswith("inv_freq")}
        if frequencies:
            scaling = {key: value for key, value in vars(module).items() if key.endswith("attention_scaling")}
            tables[name] = Table(frequencies, scaling, getattr(module, "rope_type", None))
    return tables


def attention_factor(hf: nn.Module) -> float:
    """Return the factor on cosines and sines that YaRN and LongRoPE put there, the one furthest from 1."""
    values = (value for table in tables_of(hf).values() for value in table.scaling.values())
    return max((float(x) for x in values if x is not None), key=lambda x: abs(x - 1), default=1.0)


@torch.inference_mode()
def refuse_without_effect(hf: Any, plain: nn.Module, label: str) -> None:
    """Raise UserError when an override of RoPE, named by `label`, changes nothing in a model.

    `plain` is the same architecture from the config without the override; its weights may be on the meta device.
    A few tokens run with the model's own tables and with those of `plain`. Only dynamic scaling and LongRoPE change no
    logit of so few.
    """
    mine, before = tables_of(hf), tables_of(plain)
    both = [name for name in mine if name in before]
    if any(mine[x].kind != before[x].kind and any(y in str(mine[x].kind) for y in DEPENDENT) for x in both):
        return
    embedding = hf.get_input_embeddings()
    ids = (torch.arange(PROBE)[None] % embedding.num_embeddings).to(embedding.weight.device)
    changed = hf(input_ids=ids, use_cache=False).logits
    for name in both:
        _put(hf.get_submodule(name), before[name])
    try:
        unchanged = hf(input_ids=ids, use_cache=False).logits
    finally:
        for name in both:
            _put(hf.get_submodule(name), mine[name])
    if torch.equal(changed, unchanged):
        raise UserError(
            f"RoPE {label} changes nothing in a {type(hf).__name__}: it has no RoPE, or takes it from other settings; "
            "leave out the RoPE options"
        )


def _put(module: nn.Module, table: Table) -> None:
    """Make a rotary module turn by a table."""
    for name, frequencies in table.frequencies.items():
        there = module.get_buffer(name)
        module.register_buffer(name, frequencies.to(there.device, there.dtype), persistent=False)
    for name, value in table.scaling.items():
        setattr(module, name, value)


def refuse_length_dependence(config: Any, length: int) -> None:
    """Raise UserError where the angles of a token depend on tokens that come after it: dynamic NTK and LongRoPE.

    Then one pass over a long text does not give the losses of the shorter texts that it begins with.
    """
    text = config.get_text_config(decoder=True)
    for table in _tables(text):
        name = _dependence(table)
        if name is not None and length > (limit := _original_length(text, table)):
            other = "" if name == "LongRoPE" else "; or scale by yarn or linear instead"
            raise UserError(
                f"{name} turns every token by an angle that depends on the length of the whole text, so one pass gives "
                f"no loss by position beyond {limit} tokens; given {length}, try --max-length {limit}{other}"
            )


def _original_length(text: Any, table: dict[str, Any]) -> int:
    """Return the tokens up to which a table does not depend on the length of the text."""
    own = table.get("original_max_position_embeddings") or getattr(text, "original_max_position_embeddings", None)
    return int(own or text.max_position_embeddings)


def length_dependent(config: Any) -> bool:
    """Whether the angles of any layer depend on the length of the whole text (dynamic NTK and LongRoPE)."""
    return any(_dependence(table) for table in _tables(config.get_text_config(decoder=True)))


def _dependence(table: dict[str, Any]) -> str | None:
    """Return the name of a table's scaling where that depends on the length of the whole text, else None."""
    kind = str(table.get("rope_type"))
    found = next((name for part, name in DEPENDENT.items() if part in kind), None)
    return None if kind == "longrope" and not longrope.depends_on_length(table) else found


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


def _parsed(scaling: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of scaling, and its settings, as a config has them."""
    kind, _, rest = scaling.partition(":")
    if kind not in KINDS:
        raise unknown("RoPE scaling", kind, KINDS)
    settings: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, text = part.partition("=")
        if key not in KINDS[kind]:
            raise unknown(f"setting of RoPE scaling {kind!r}:", key, KINDS[kind])
        if key == "file":
            settings |= longrope.lists_in(text)
            continue
        try:
            settings[key] = float(text)
        except ValueError:
            raise UserError(f"{key!r} of RoPE scaling {kind!r} must be a number; got {shown(text)}") from None
        if not 0 <= settings[key] <= LARGEST:
            raise UserError(f"{key!r} of RoPE scaling {kind!r} must be 0 to {LARGEST:g}; got {shown(text)}")
    if settings.get("factor", 0.0) < 1.0:
        raise UserError(f"RoPE scaling {kind!r} needs a factor of 1 or more, as in {kind}:factor=4")
    if kind == "longrope" and "long_factor" not in settings:
        raise UserError("RoPE scaling 'longrope' needs its lists, as in longrope:factor=4,file=lists.json")
    return kind, settings
