"""Training itself: it learns, goes on after a kill, and its folder runs as it was trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import ssmax_eval
from ssmax_eval.attention import LSSAR, Softmax, SSMax
from ssmax_eval.attention.ssmax import default_s
from ssmax_eval.errors import UserError
from ssmax_eval.train import Recipe, train
from ssmax_eval.train.data import Data
from ssmax_eval.train.trainer import LMTrainer, curve


@pytest.fixture(scope="module")
def trained(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SSMax with learned s, to the end; and a checkpoint kept half-way."""
    folder = tmp_path_factory.mktemp("trained") / "ssmax"
    assert train(replace(recipe, attention="ssmax", keep_at=(0.5,), parameter_lr=5.0), folder)
    return folder


def test_it_learns_and_says_how(trained: Path, recipe: Recipe) -> None:
    rows = curve(trained)
    assert [row["step"] for row in rows] == list(range(2, 21, 2))
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.2
    assert all(
        0 <= row["right"] <= 1 and min(row["loss_text"], row["loss_answer"], row["loss_lookup"]) > 0 for row in rows
    )
    record = json.loads((trained / "training.json").read_text())
    assert record["finished"]
    assert record["texts"] == ["one", "two"]
    card = (trained / "README.md").read_text()
    assert record["data"] in card
    assert "ssmax:s=" in card
    assert not (trained / "trainer").exists()
    before = (trained / "model.safetensors").read_bytes()
    said: list[str] = []
    assert not train(replace(recipe, attention="ssmax", keep_at=(0.5,), parameter_lr=5.0), trained, say=said.append)
    assert "is trained already" in said[-1]
    assert (trained / "model.safetensors").read_bytes() == before


def test_plain_transformers_runs_what_was_learned(trained: Path) -> None:
    ssmax_eval.register()
    ids = torch.arange(60)[None] * 7 % 500
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(trained)(input_ids=ids, use_cache=False).logits
        model = ssmax_eval.load(str(trained))
        torch.testing.assert_close(plain, model.hf(input_ids=ids, use_cache=False).logits, rtol=1e-5, atol=1e-5)
        with ssmax_eval.rewritten(model.hf, "softmax"):
            assert (model.hf(input_ids=ids, use_cache=False).logits - plain).abs().max() > 1e-3


def test_learned_s_comes_back(trained: Path, recipe: Recipe) -> None:
    weights = load_file(trained / "model.safetensors")
    attention = ssmax_eval.load(str(trained)).attention
    assert isinstance(attention, SSMax)
    recorded = json.loads((trained / "training.json").read_text())["learned"]
    assert isinstance(attention.s, tuple)
    assert [list(heads) for heads in attention.s] == recorded["s"]
    for layer in range(recipe.layers):
        s = weights[f"model.layers.{layer}.self_attn.ssmax_s"]
        assert attention.s[layer] == tuple(s.double().tolist())
        assert (s - default_s(recipe.train_length)).abs().min() > 1e-4
    half = ssmax_eval.load(str(trained / "step-10")).attention
    assert isinstance(half, SSMax)
    assert half.s != attention.s


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "softmax"},
        {"attention": "ssmax", "learn": ("s", "b")},
        {"attention": "ssmax:s=1"},
        {"attention": "ssmax:s=0.3", "learn": ("s",)},
        {"attention": "per_n"},
        {"attention": "lssa"},
        {"attention": "lssar:p=3"},
        {"attention": "lssar:p=15"},
        {"attention": "logn", "bf16": True},
        {"attention": "lssar:p=15", "bf16": True},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())),
)
def test_every_attention_trains_and_runs_as_trained(
    changes: dict[str, Any], recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = torch.arange(60)[None] * 7 % 500
    seen = []
    go_on = LMTrainer.go_on

    def watched(self: LMTrainer, progress: Path | None) -> None:
        go_on(self, progress)
        with torch.no_grad():
            seen.append(self.model.eval()(input_ids=ids, use_cache=False).logits)

    monkeypatch.setattr(LMTrainer, "go_on", watched)
    train(replace(recipe, steps=4, warmup=1, **changes), tmp_path / "out")
    assert all(row["loss"] == row["loss"] < 10 and row["grad_norm"] > 0 for row in curve(tmp_path / "out"))
    assert seen[0].isfinite().all()
    model = ssmax_eval.load(str(tmp_path / "out"))
    error = (model.hf(input_ids=ids, use_cache=False).logits - seen[0]).square().mean().sqrt() / seen[0].std()
    assert error < (5e-2 if changes.get("bf16") else 1e-5)
    learned = [name for name in load_file(tmp_path / "out" / "model.safetensors") if "ssmax" in name]
    wanted = {"ssmax-('s', 'b')": 4, "ssmax:s=0.3-('s',)": 2, "per_n": 2}
    assert len(learned) == wanted.get("-".join(map(str, changes.values())), 0)
    if changes["attention"] == "ssmax:s=1":
        assert model.attention == SSMax(s=1.0, b=0.0)
    if changes["attention"] == "lssar:p=3":
        assert model.attention == LSSAR(p=3.0)


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_to_the_same_weights(
    trained: Path, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same, folder = replace(recipe, attention="ssmax", keep_at=(0.5,), parameter_lr=5.0), tmp_path / "killed"
    item = Data.__getitem__

    def deadly(self: Data, i: int) -> dict[str, torch.Tensor]:
        if i == 14:
            raise KilledError
        return item(self, i)

    with monkeypatch.context() as patch:
        patch.setattr(Data, "__getitem__", deadly)
        with pytest.raises(KilledError):
            train(same, folder)
    assert not (folder / "config.json").exists()
    (folder / "trainer" / "checkpoint-16").mkdir()  # as a kill in the middle of saving leaves it
    assert train(same, folder)
    assert [row["step"] for row in curve(folder)] == [row["step"] for row in curve(trained)]
    assert [row["loss"] for row in curve(folder)] == pytest.approx([row["loss"] for row in curve(trained)], abs=1e-5)
    there, here = (load_file(path / "model.safetensors") for path in (trained, folder))
    assert there.keys() == here.keys()
    for name, weight in there.items():
        torch.testing.assert_close(here[name], weight, rtol=0, atol=1e-6)


def test_a_checkpoint_goes_on_under_another_attention(trained: Path, recipe: Recipe, tmp_path: Path) -> None:
    late = replace(recipe, attention="softmax", start_step=10, warmup=2)
    train(late, tmp_path / "late", str(trained / "step-10"))
    rows = curve(tmp_path / "late")
    assert [row["step"] for row in rows] == [12, 14, 16, 18, 20]
    model = ssmax_eval.load(str(tmp_path / "late"))
    assert model.attention == Softmax()
    assert not [name for name in load_file(tmp_path / "late" / "model.safetensors") if "ssmax" in name]
    tokenizers = [(path / "tokenizer.json").read_text() for path in (trained, tmp_path / "late")]
    assert tokenizers[0] == tokenizers[1]
    back = replace(recipe, attention="ssmax", steps=4)
    train(back, tmp_path / "back", str(tmp_path / "late"))
    assert isinstance(ssmax_eval.load(str(tmp_path / "back")).attention, SSMax)
    with pytest.raises(UserError, match="started from another checkpoint"):
        train(back, tmp_path / "back", str(trained))
    with pytest.raises(UserError, match="has num_hidden_layers 2, the recipe 3"):
        train(replace(back, layers=3), tmp_path / "other", str(trained))


def test_s_that_a_checkpoint_brings_is_where_learning_starts(trained: Path, recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, attention="auto", steps=2, lr=1e-9), tmp_path / "more", str(trained))
    brought, after = (ssmax_eval.load(str(path)).attention for path in (trained, tmp_path / "more"))
    assert isinstance(brought, SSMax)
    assert isinstance(after, SSMax)
    torch.testing.assert_close(torch.tensor(after.s), torch.tensor(brought.s), rtol=0, atol=1e-6)


def test_another_training_is_refused(trained: Path, recipe: Recipe, texts: Path, tmp_path: Path) -> None:
    same = replace(recipe, attention="ssmax", keep_at=(0.5,), parameter_lr=5.0)
    with pytest.raises(UserError, match="holds another training: its seed is 0, not 3"):
        train(replace(same, seed=3), trained)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "novel.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else already"):
        train(same, tmp_path / "full")
    with pytest.raises(UserError, match="cannot learn 'p'; it has no parameter that is learned"):
        train(replace(recipe, attention="lssar:p=3", learn=("p",)), tmp_path / "new")
    with pytest.raises(UserError, match="cannot learn 'layers'; it can learn: b, s"):
        train(replace(recipe, attention="ssmax", learn=("layers",)), tmp_path / "new")
    with pytest.raises(UserError, match="learning needs all of them"):
        train(replace(recipe, attention="ssmax:layers=1"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
