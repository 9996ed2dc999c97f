"""Where a checkpoint's own parameters are found, and what is done with those that are not known."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ssmax_eval
from ssmax_eval.attention import Attention, Shape, Softmax, SSMax, describe, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.weights import from_weights
from ssmax_eval.errors import UserError
from tests.rewriting import architectures

Copy = Callable[..., Path]
IDS = torch.arange(3, 43)


@pytest.fixture
def with_weights(tiny_folder: Path, tmp_path: Path) -> Copy:
    """Copies the tiny checkpoint (2 layers x 4 heads) with more tensors in its file, or in a second shard."""

    def copy(more: dict[str, torch.Tensor], sharded: bool = False, **config: object) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(tiny_folder, folder)
        weights = load_file(folder / "model.safetensors")
        if sharded:
            (folder / "model.safetensors").unlink()
            shards = {"model-00001-of-00002.safetensors": weights, "model-00002-of-00002.safetensors": more}
            names = {key: name for name, tensors in shards.items() for key in tensors}
            for name, tensors in shards.items():
                save_file(tensors, folder / name, {"format": "pt"})
            index = {"metadata": {}, "weight_map": names}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        else:
            save_file(weights | more, folder / "model.safetensors", {"format": "pt"})
        content = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(content | config))
        return folder

    return copy


def per_layer(name: str, values: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"model.layers.{i}.self_attn.{name}": value.clone() for i, value in enumerate(values)}


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("name", ["ssmax_s", "ssmax_scale", "softmax_scaler", "softmax_scaler.weight"])
def test_each_name_of_s_is_used(name: str, sharded: bool, with_weights: Copy) -> None:
    s = [torch.tensor([0.1, 0.2, 0.3, 0.4]), torch.tensor([0.5, 0.6, 0.7, 0.8])]
    folder = with_weights(per_layer(name, s), sharded)
    model = ssmax_eval.load(str(folder))
    assert isinstance(model.attention, SSMax)
    torch.testing.assert_close(torch.tensor(model.attention.s), torch.stack(s))
    by_hand = ssmax_eval.load(str(folder), SSMax(s=tuple(tuple(x.tolist()) for x in s)))
    assert torch.equal(model.token_losses(IDS), by_hand.token_losses(IDS))
    assert not torch.allclose(model.token_losses(IDS), ssmax_eval.load(str(folder), "softmax").token_losses(IDS))


def test_a_scalar_a_bias_and_a_stack_of_layers(with_weights: Copy) -> None:
    stacked = torch.arange(8.0).view(2, 4, 1, 1)
    more = {"model.ssmax_scale": stacked, **per_layer("ssmax_bias", [torch.tensor(0.5), torch.tensor([0.25])])}
    found = from_weights(with_weights(more), layers=2, heads=4)
    assert found["s"] == ((0.0, 1.0, 2.0, 3.0), (4.0, 5.0, 6.0, 7.0))
    assert found["b"] == ((0.5,) * 4, (0.25,) * 4)


def test_one_scalar_for_the_whole_model(with_weights: Copy) -> None:
    assert from_weights(with_weights({"model.ssmax_s": torch.tensor(0.25)}), 2, 4)["s"] == ((0.25,) * 4,) * 2


def test_a_shape_that_fits_nothing_is_named(with_weights: Copy) -> None:
    folder = with_weights(per_layer("ssmax_s", [torch.ones(3)] * 2))
    with pytest.raises(UserError, match=r"layers.0.self_attn.ssmax_s.*shape \(3,\).*4 heads"):
        ssmax_eval.load(str(folder))


def test_a_missing_layer_is_an_error(with_weights: Copy) -> None:
    folder = with_weights(per_layer("ssmax_s", [torch.ones(4)]))
    with pytest.raises(UserError, match=r"'s' for some layers, but not for layers \[1\]"):
        ssmax_eval.load(str(folder))


def test_full_attention_layers_alone_may_bring_s(with_weights: Copy) -> None:
    """As Step-5-Preview does; the layers with a window attend with softmax."""
    s = {"model.layers.1.self_attn.ssmax_s": torch.full((4,), 0.3)}
    kinds = ["sliding_attention", "full_attention"]
    folder = with_weights(s, model_type="mistral", architectures=["MistralForCausalLM"], layer_types=kinds)
    found = Checkpoint(str(folder)).shape
    assert [len(heads) for heads in found.from_weights["s"]] == [0, 4]
    resolved = parse("auto").resolve(found)
    assert resolved.layers == "1"
    assert resolved.rewrites(found) == frozenset({1})


def test_an_unknown_attention_parameter_is_named(with_weights: Copy) -> None:
    folder = with_weights(per_layer("attn_temperature", [torch.ones(4)] * 2))
    with pytest.raises(UserError, match=r"does not use: 'model.layers.0.self_attn.attn_temperature'"):
        ssmax_eval.load(str(folder))


def test_leftovers_that_change_nothing_are_no_error(with_weights: Copy) -> None:
    more = {
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
        "model.layers.2.self_attn.q_proj.weight": torch.ones(4, 4),
    }
    folder = with_weights(more, num_nextn_predict_layers=1)
    assert isinstance(ssmax_eval.load(str(folder)).attention, Softmax)


@pytest.mark.parametrize("spec", ["ssmax:s=0.3,b=0.1", "lssar:p=3,qk_norm=false", "logn", "ssmax:layers=1", "softmax"])
def test_a_converted_checkpoint_loads_by_itself(spec: str, tiny_folder: Path, tmp_path: Path) -> None:
    resolved = ssmax_eval.convert(str(tiny_folder), spec, tmp_path / "out")
    ours, asked = ssmax_eval.load(str(tmp_path / "out")), ssmax_eval.load(str(tiny_folder), spec)
    assert ours.attention == asked.attention == resolved
    assert torch.equal(ours.token_losses(IDS), asked.token_losses(IDS))
    assert ours.tokenizer.get_vocab() == asked.tokenizer.get_vocab()


def test_a_table_by_layer_and_head_survives_the_config(tiny_folder: Path, tmp_path: Path) -> None:
    table = ((0.1, 1 / 3, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8))
    ssmax_eval.convert(str(tiny_folder), SSMax(s=table), tmp_path / "out")
    assert ssmax_eval.load(str(tmp_path / "out")).attention == SSMax(s=table, b=0.0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"attention": "sssmax"}, "did you mean 'ssmax'"),
        ({"attention": "ssmax", "t": 1}, "parameter of 'ssmax' in the checkpoint's config: 't'"),
        ("ssmax", "names no attention"),
    ],
)
def test_a_config_that_carries_nonsense(entry: object, message: str, with_weights: Copy) -> None:
    with pytest.raises(UserError, match=message):
        ssmax_eval.load(str(with_weights({}, ssmax_eval=entry)))


def test_converting_does_not_overwrite(tiny_folder: Path) -> None:
    with pytest.raises(UserError, match="is not empty"):
        ssmax_eval.convert(str(tiny_folder), "ssmax", tiny_folder)


SHAPE = Shape(4, 2, 64, full=(1, 3))


@pytest.mark.parametrize(("layers", "expected"), [("full", [1, 3]), ("0-1+3", [0, 1, 3]), ("2", [2])])
def test_layers_are_chosen_for_every_attention(layers: str, expected: list[int]) -> None:
    for name in ssmax_eval.ATTENTIONS:
        attention: Attention = parse(f"{name}:layers={layers}")
        assert sorted(attention.rewrites(SHAPE) or ()) == expected
        assert parse(describe(attention)) == attention


@pytest.mark.parametrize("layers", ["first", "0-4", "1-", "-1"])
def test_layers_that_are_none(layers: str) -> None:
    with pytest.raises(UserError, match="layers"):
        parse(f"ssmax:layers={layers}").rewrites(SHAPE)


def test_layers_left_out_attend_with_softmax() -> None:
    hf = architectures.build("gemma3_text")
    shape = Shape(4, 4, 64, full=(1,))
    with ssmax_eval.rewritten(hf, SSMax(s=0.4, layers="full"), shape=shape), architectures.recorded(SSMax) as ours:
        hf(input_ids=IDS[None], use_cache=False)
    assert len(ours) == 1
    assert architectures.verify(hf, SSMax(s=0.4, layers="0+2"))[0] == 4


@pytest.mark.parametrize("rope", ["linear:factor=2", "yarn:factor=4", "dynamic:factor=4"])
def test_rope_is_scaled_and_recorded(rope: str, tiny_folder: Path) -> None:
    plain, scaled = Checkpoint(str(tiny_folder)), Checkpoint(str(tiny_folder), rope=rope)
    kind, _, factor = rope.partition(":factor=")
    assert scaled.config.rope_parameters["rope_type"] == kind
    assert scaled.config.rope_parameters["factor"] == float(factor)
    assert scaled.rope_label == rope
    assert scaled.identity() == {**plain.identity(), "rope": rope}
    ids = torch.randint(3, 600, (1, 300), generator=torch.Generator().manual_seed(0))
    models = [ssmax_eval.load(str(tiny_folder), rope=r) for r in (None, rope)]
    own, changed = (m.answer(ids, 4)[0] for m in models)
    assert not torch.allclose(own, changed)


def test_dynamic_scaling_forgets_and_refuses_a_loss_by_position(tiny_folder: Path) -> None:
    model = ssmax_eval.load(str(tiny_folder), rope="dynamic:factor=4")
    long, short = torch.arange(3, 403)[None], torch.arange(3, 303)[None]
    first = model.answer(short, 4)[0]
    model.answer(long, 4)
    assert torch.equal(model.answer(short, 4)[0], first)
    assert model.token_losses(torch.arange(3, 203)).shape == (199,)
    with pytest.raises(UserError, match="yarn or linear"):
        model.token_losses(short)


@pytest.mark.parametrize(
    ("rope", "message"),
    [("yarm:factor=2", "did you mean 'yarn'"), ("yarn", "needs a factor"), ("linear:fact=2", "'factor'"),
     ("linear:factor=x", "must be a number")],
)  # fmt: skip
def test_rope_that_is_none(rope: str, message: str, tiny_folder: Path) -> None:
    with pytest.raises(UserError, match=message):
        _ = Checkpoint(str(tiny_folder), rope=rope).config
