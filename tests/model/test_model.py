"""The few methods that tasks and notebooks use, against plain transformers."""

import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AttentionInterface,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

import ssmax_eval
from ssmax_eval.attention import Call
from ssmax_eval.model import model as model_room
from tests.conftest import tiny_config

IDS = torch.randint(3, 600, (50,), generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> ssmax_eval.Model:
    return ssmax_eval.load(str(tiny_folder), attention="ssmax:s=0.4", dtype="float64")


@pytest.fixture(scope="module")
def eager(tiny_folder: Path) -> ssmax_eval.Model:
    return ssmax_eval.load(str(tiny_folder), dtype="float64")


def test_token_losses_are_the_cross_entropy_of_the_full_logits(
    model: ssmax_eval.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        logits = model.hf(IDS[None]).logits
    whole = torch.nn.functional.cross_entropy(logits[0, :-1], IDS[1:], reduction="none")
    for rows in (512, 7):
        monkeypatch.setattr(model_room, "HEAD_ROWS", rows)
        losses = model.token_losses(IDS)
        assert losses.shape == (49,)
        torch.testing.assert_close(losses, whole)
    batch = model.token_losses(IDS.view(2, 25))
    assert batch.shape == (2, 24)
    torch.testing.assert_close(batch[0], whole[:24])


def test_a_loaded_model_stays_rewritten_for_as_long_as_it_lives(tiny_folder: Path) -> None:
    """transformers' object by itself, too: in a script that kept nothing else, softmax would come back unseen."""
    gc.collect()  # models of other tests take their names with them
    names = set(AttentionInterface())
    asked = ssmax_eval.load(str(tiny_folder), "lssar", dtype="float64")
    alone = ssmax_eval.load(str(tiny_folder), "lssar", dtype="float64").hf
    with torch.no_grad():
        wanted = asked.hf(IDS[None]).logits
        assert torch.equal(alone(IDS[None]).logits, wanted)
        with ssmax_eval.rewritten(alone, "softmax"):
            assert not torch.allclose(alone(IDS[None]).logits, wanted)
        assert torch.equal(alone(IDS[None]).logits, wanted)
    del asked, alone
    gc.collect()
    assert set(AttentionInterface()) == names


def test_the_head_is_the_models_own() -> None:
    """Gemma 2 soft-caps its logits after the head; losses by slices must have that too."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=99, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, final_logit_softcapping=0.5, initializer_range=0.5,
    )  # fmt: skip
    hf = Gemma2ForCausalLM(config).double().eval()
    model = model_room.Model(hf)
    ids = torch.arange(30)
    with torch.no_grad():
        logits = hf(ids[None]).logits
    assert float(logits.abs().max()) <= 0.5
    torch.testing.assert_close(
        model.token_losses(ids), torch.nn.functional.cross_entropy(logits[0, :-1], ids[1:], reduction="none")
    )


def test_a_head_past_the_base_model_gets_its_slices_too() -> None:
    """OPT's head calls the decoder inside of its base model."""
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=99, hidden_size=16, ffn_dim=16, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=16,
        max_position_embeddings=64, init_std=0.5,
    )  # fmt: skip
    hf = OPTForCausalLM(config).double().eval()
    model = model_room.Model(hf)
    ids = torch.arange(3, 33)
    with torch.no_grad():
        logits = hf(ids[None]).logits
    torch.testing.assert_close(
        model.token_losses(ids), torch.nn.functional.cross_entropy(logits[0, :-1], ids[1:], reduction="none")
    )


def test_key_mass_is_the_attention_that_transformers_shows(tiny_folder: Path, eager: ssmax_eval.Model) -> None:
    hf = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        maps = hf(IDS[None], output_attentions=True).attentions
    mass = eager.key_mass(IDS, 10, 14)
    assert mass.shape == (2, 4)
    torch.testing.assert_close(mass, torch.stack([a[0, :, -1, 10:14].sum(-1) for a in maps]))
    with pytest.raises(ValueError, match=r"keys 10\.\.51"):
        eager.key_mass(IDS, 10, 51)


def test_the_rows_looked_at_are_the_rows_that_ran(model: ssmax_eval.Model) -> None:
    """The weights that a probe sees, applied to the values, are the output that went on."""
    seen = {}
    attend = model.attention.forward

    def remembering(call: Call) -> Tensor:
        output = attend(call)
        seen[call.layer] = (call.value, output)
        return output

    object.__setattr__(model.attention, "forward", remembering)
    rows = torch.tensor([0, 3, 49])
    weights = model.attention_rows(IDS, rows, lambda a: a)
    object.__delattr__(model.attention, "forward")
    for layer, a in enumerate(weights):
        value, output = seen[layer]
        torch.testing.assert_close(a @ value.repeat_interleave(2, 1), output[:, :, rows])


def test_answers_are_scored_under_teacher_forcing(model: ssmax_eval.Model) -> None:
    with torch.no_grad():
        logits = model.hf(IDS[None]).logits[0, -5:-1]
    logprobs, chosen, _ = model.answer(IDS[None], 4)
    torch.testing.assert_close(logprobs[0], logits.log_softmax(-1).gather(1, IDS[-4:, None])[:, 0])
    assert chosen[0].tolist() == logits.argmax(-1).tolist()


def test_a_model_rewritten_by_someone_else_says_so(model: ssmax_eval.Model) -> None:
    with ssmax_eval.rewritten(model.hf, "softmax"), pytest.raises(RuntimeError, match="another rewriting"):
        model.key_mass(IDS, 0, 1)


def test_a_table_of_positions_is_a_limit(eager: ssmax_eval.Model) -> None:
    config = GPT2Config(vocab_size=90, n_positions=64, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    hf = GPT2LMHeadModel(config)
    assert model_room.Model(hf).max_positions == 64
    assert eager.max_positions is None


def test_float32_losses_of_a_large_vocabulary_are_not_biased() -> None:
    torch.manual_seed(0)
    hf = LlamaForCausalLM(tiny_config(vocab_size=50_000)).eval()
    rough = model_room.Model(hf).token_losses(IDS).double()
    with torch.no_grad():
        logits = hf.double()(IDS[None]).logits[0, :-1]
    exact = torch.nn.functional.cross_entropy(logits, IDS[1:], reduction="none")
    assert float((rough - exact).mean().abs()) < 2e-6
    torch.testing.assert_close(rough, exact, rtol=0, atol=2e-5)
