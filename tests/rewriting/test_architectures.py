"""Every causal-LM type: rewritten and verified, or refused; and the documented table says so."""

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from ssmax_eval.attention import LSSAR, Softmax, SSMax
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import rewritten
from tests import tiny
from tests.rewriting import architectures

REPRESENTATIVE = [
    "llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "phi3", "gpt_neox", "gpt2", "olmo2", "gpt_oss",
    "mixtral", "deepseek_v3", "deepseek_v32", "qwen3_next", "jamba", "inkling_text", "lfm2", "bloom", "mamba",
    "deepseek_v4", "llama4_text", "zamba2", "beam", "ctrl",
]  # fmt: skip


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.set_verbosity_error()


DOCUMENTED = f"transformers {transformers.__version__}," in architectures.DOCUMENT.read_text(encoding="utf-8")
"""Whether the table is of this version of transformers: it says nothing of another."""
of_the_documented_version = pytest.mark.skipif(not DOCUMENTED, reason="the table is of another transformers")


@pytest.mark.parametrize("kind", REPRESENTATIVE)
def test_a_type_is_verified_or_refused_as_the_documented_table_says(kind: str) -> None:
    finding = architectures.examine(kind)
    assert "verified" in finding.verdict or "refused" in finding.verdict
    if DOCUMENTED:
        assert architectures.row(finding) in architectures.DOCUMENT.read_text(encoding="utf-8").splitlines()


@of_the_documented_version
def test_the_table_names_every_type() -> None:
    table = architectures.DOCUMENT.read_text(encoding="utf-8")
    named = {line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")}
    assert named - {"type"} == set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@of_the_documented_version
@pytest.mark.slow
def test_the_whole_table() -> None:
    findings = [architectures.examine(kind) for kind in tiny.TYPES]
    assert architectures.document(findings) == architectures.DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma2", "gpt_oss", "deepseek_v3", "jamba"])
def test_cached_decoding_and_chunks_give_what_one_pass_gives(kind: str) -> None:
    hf = architectures.build(kind)
    with rewritten(hf, SSMax(s=0.43), shape=architectures.SHAPE), torch.inference_mode():
        whole = hf(input_ids=architectures.IDS, use_cache=False).logits
        cache = DynamicCache(config=hf.config)
        pieces = torch.split(
            architectures.IDS, [9, 1, 1, 1, 1, 6, *[1] * 5] if kind != "jamba" else [19, *[1] * 5], dim=1
        )
        parts = [hf(input_ids=piece, past_key_values=cache).logits for piece in pieces]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-4)


def test_what_a_definition_does_not_honour_is_refused_by_name() -> None:
    for kind, words in (("gpt_oss", "attention sinks"), ("gemma2", "soft-capping"), ("inkling_text", "biases")):
        hf = architectures.build(kind)
        with (
            pytest.raises(UserError, match=f"LSSAR does not support {words}"),
            rewritten(hf, LSSAR(), shape=architectures.SHAPE),
        ):
            pass


def test_softmax_runs_where_log_n_would_be_applied_twice() -> None:
    hf = architectures.build("ministral3")
    own = hf(input_ids=architectures.IDS, use_cache=False).logits
    with rewritten(hf, Softmax(), shape=architectures.SHAPE):
        torch.testing.assert_close(hf(input_ids=architectures.IDS, use_cache=False).logits, own)


def test_a_model_that_scales_its_queries_unasked_runs_softmax_alone() -> None:
    """beam says so in no field of its config: its code does it where a layer has no RoPE."""
    hf = architectures.build("beam")
    own = hf(input_ids=architectures.IDS, use_cache=False).logits
    for attention in (SSMax(), LSSAR()):
        refused = pytest.raises(UserError, match="'beam' model scales its queries by position already")
        with refused, rewritten(hf, attention, shape=architectures.SHAPE):
            pass
    with rewritten(hf, Softmax(), shape=architectures.SHAPE):
        torch.testing.assert_close(hf(input_ids=architectures.IDS, use_cache=False).logits, own)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_queries_that_grow_with_position_are_found_in_any_model(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hf = architectures.build(kind)
    module = hf.get_submodule("model.layers.1.self_attn" if kind == "llama" else "transformer.h.1.attn")
    projection = module.q_proj if kind == "llama" else module.c_attn
    own = projection.forward

    def growing(states: torch.Tensor) -> torch.Tensor:
        grown: torch.Tensor = own(states) * torch.linspace(1.0, 1.01, states.shape[1])[:, None]
        return grown

    with rewritten(hf, SSMax(s=0.4), shape=architectures.SHAPE):
        pass
    monkeypatch.setattr(projection, "forward", growing)
    with (
        pytest.raises(UserError, match=r"scales its queries by position already.* in layer 1"),
        rewritten(hf, SSMax(s=0.4), shape=architectures.SHAPE),
    ):
        pass


def test_a_sink_takes_weight_and_gives_nothing() -> None:
    """By hand: two visible keys with score 0, a sink with logit log 2: weights 1/4, 1/4, and 1/2 for the sink."""
    hf = architectures.build("gpt_oss")
    hf.model.layers[0].self_attn.sinks.data.fill_(torch.tensor(2.0).log())
    hf.model.layers[0].self_attn.q_proj.weight.data.zero_()
    hf.model.layers[0].self_attn.q_proj.bias.data.zero_()
    with rewritten(hf, Softmax(), shape=architectures.SHAPE), architectures.recorded(Softmax) as calls:
        hf(input_ids=architectures.IDS[:, :2], use_cache=False)
    call, output = calls[0]
    value = call.value
    torch.testing.assert_close(output[:, :2, 1], (value[:, :1, 0] + value[:, :1, 1]).expand(-1, 2, -1) / 4)


def test_a_layer_that_goes_past_the_rewriting_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    hf = AutoModelForCausalLM.from_config(tiny.config("llama")).eval()
    layer = hf.model.layers[2].self_attn
    monkeypatch.setattr(layer, "forward", lambda hidden_states, **_: (hidden_states, None))
    found = "only 3 of the 4 attention layers of LlamaForCausalLM.*layers.2"
    with pytest.raises(UserError, match=found), rewritten(hf, "ssmax"):
        pass
