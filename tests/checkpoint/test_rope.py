"""A change of RoPE changes the angles, or is refused; so are losses by position that would mislead."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Phi3Config, Phi3ForCausalLM

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.rope import refuse_length_dependence
from ssmax_eval.errors import UserError
from ssmax_eval.model.model import Model
from tests import tiny

IDS = torch.arange(3, 60)[None]
BASE, LINEAR, YARN = ({"rope_theta_scale": 50.0}, {"rope": "linear:factor=4"}, {"rope": "yarn:factor=4"})
WITHOUT_EFFECT = [
    *(("granitemoehybrid", change) for change in (BASE, LINEAR, YARN)),
    ("granite_swa", BASE),
    ("granitemoe_swa", BASE),
    ("beam", LINEAR),
    ("beam", YARN),
]
WITH_EFFECT = [
    *((kind, change) for kind in ("llama", "gemma3_text") for change in (BASE, LINEAR, YARN)),
    ("llama", {"rope": "dynamic:factor=4"}),
    ("granite_swa", LINEAR),
    ("granite_swa", YARN),
    ("beam", BASE),
]


def saved(kind: str, folder: Path) -> str:
    """A tiny checkpoint of a type, without a tokenizer."""
    torch.manual_seed(0)
    layers = {"layer_types": ["sliding_attention", "full_attention"] * 2} if kind == "gemma3_text" else {}
    hf = AutoModelForCausalLM.from_config(tiny.config(kind, **layers))
    for weight in hf.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight.data, std=0.2)
    hf.save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def logits(name: str, **change: object) -> torch.Tensor:
    output: torch.Tensor = Checkpoint(name, dtype="float32", **change).load()(IDS, use_cache=False).logits  # type: ignore[arg-type]
    return output


@pytest.mark.parametrize(("kind", "change"), WITHOUT_EFFECT, ids=str)
def test_a_change_of_rope_that_changes_nothing_is_refused(kind: str, change: dict[str, object], tmp_path: Path) -> None:
    name = saved(kind, tmp_path)
    label = "linear" if "linear" in str(change) else "yarn" if "yarn" in str(change) else "base x50"
    with pytest.raises(UserError, match=f"RoPE {label}.* changes nothing in a "):
        logits(name, **change)


@pytest.mark.parametrize(("kind", "change"), WITH_EFFECT, ids=str)
def test_a_change_of_rope_that_changes_the_angles_runs(kind: str, change: dict[str, object], tmp_path: Path) -> None:
    name = saved(kind, tmp_path)
    changed = logits(name, **change)
    if "dynamic" not in str(change):  # which changes nothing up to the training length
        assert not torch.equal(changed, logits(name))


def long_rope(original: int = 16) -> Phi3ForCausalLM:
    """A model whose angles are others as soon as a text is longer than 16 tokens."""
    torch.manual_seed(0)
    rope = {
        "rope_type": "longrope",
        "short_factor": [1.0] * 4,
        "long_factor": [6.0] * 4,
        "factor": 4.0,
        "rope_theta": 1e4,
    }
    config = Phi3Config(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, original_max_position_embeddings=original, pad_token_id=0,
        initializer_range=0.3, rope_parameters={**rope, "original_max_position_embeddings": original},
    )  # fmt: skip
    return Phi3ForCausalLM(config).double().eval()


def test_losses_by_position_of_longrope_are_refused_beyond_its_original_length() -> None:
    model = Model(long_rope())
    short = model.token_losses(IDS[0, :16])
    with torch.no_grad():
        whole = model.hf(IDS[:, :40]).logits[0, :15].log_softmax(-1)
    beginning = -whole.gather(-1, IDS[0, 1:16, None])[:, 0]
    assert float((beginning - short).abs().max()) > 0.01  # what one long pass would have given
    with pytest.raises(UserError, match=r"LongRoPE turns .* beyond 16 tokens; given 17, try --max-length 16"):
        model.token_losses(IDS[0, :17])


def test_the_original_length_is_found_where_a_config_has_it() -> None:
    hf = long_rope()
    del hf.config.rope_parameters["original_max_position_embeddings"]
    refuse_length_dependence(hf.config, 16)
    with pytest.raises(UserError, match="beyond 16 tokens"):
        refuse_length_dependence(hf.config, 17)


def test_longrope_is_not_read_in_pieces() -> None:
    hf = long_rope()
    with ssmax_eval.rewritten(hf, "softmax") as rewriting:
        assert not Model(hf, None, rewriting).resumable
