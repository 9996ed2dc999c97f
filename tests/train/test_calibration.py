"""Calibration: it starts at softmax, its gradients and its closed form are right, and it goes on after a kill."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2LMHeadModel, LlamaForCausalLM

from ssmax_eval.attention import Shape, SSMax, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import Model
from ssmax_eval.rewriting import rewritten
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.train.calibration import closed_form, documents
from ssmax_eval.train.calibration.calibrate import calibrate, start_of
from ssmax_eval.train.calibration.factors import Factors, Values, position_weights, tables
from ssmax_eval.train.calibration.gradient import add_gradient, frozen, held, layers
from ssmax_eval.train.calibration.settings import Calibration
from ssmax_eval.train.calibration.statistics import STATISTICS, alike
from ssmax_eval.train.calibration.table import Place
from tests import tiny

SHAPE = Shape(layers=2, heads=4, train_length=256)
SOFTMAX = SSMax(s=0.0, b=1.0)
IDS = torch.arange(40) * 7 % 96


def test_s_0_and_b_1_is_softmax(tiny_hf: LlamaForCausalLM) -> None:
    losses = []
    for attention in ("softmax", SOFTMAX):
        with rewritten(tiny_hf, attention) as rewriting:
            losses.append(Model(tiny_hf, rewriting=rewriting).token_losses(IDS))
    assert torch.equal(*losses)


def test_the_gradient_is_that_of_the_loss() -> None:
    torch.manual_seed(0)  # GPT-2 is float64 throughout; Llama's norms are float32
    hf = GPT2LMHeadModel(tiny.config("gpt2", initializer_range=0.3)).double().eval()
    weights = position_weights((16, len(IDS)))
    with rewritten(hf, SOFTMAX) as rewriting:
        model = Model(hf, rewriting=rewriting)
        assert layers(hf, rewriting.modules) == list(hf.transformer.h)
        leaves = Values(*(torch.full((4, 4), x, dtype=torch.float64, requires_grad=True) for x in (0.1, 0.7)))
        with frozen(model), held(model, leaves):
            loss = add_gradient(model, IDS, weights)
        assert all(weight.requires_grad and weight.grad is None for weight in hf.parameters())
        assert not rewriting.learned

        def at(name: str, layer: int, head: int, move: float) -> float:
            moved = [one.detach().clone() for one in leaves]
            moved[("s", "b").index(name)][layer, head] += move
            rewriting.attention = SSMax(*(tuple(map(tuple, one.tolist())) for one in moved))
            return float((model.token_losses(IDS) * weights).sum())

        assert loss == pytest.approx(at("s", 0, 0, 0.0), rel=1e-12)
        for name, layer, head in (("s", 0, 1), ("b", 0, 1), ("s", 1, 3), ("b", 1, 2)):
            slope = (at(name, layer, head, 1e-5) - at(name, layer, head, -1e-5)) / 2e-5
            gradient = getattr(leaves, name).grad[layer, head]
            assert float(gradient) == pytest.approx(slope, rel=1e-5, abs=1e-9)
            assert abs(slope) > 1e-6


def test_a_step_of_any_coordinate_moves_the_factor_alike() -> None:
    weights = position_weights((64, 1024))
    assert len(weights) == 1023
    assert float(weights[:63].sum()) == pytest.approx(0.5)
    log_n = torch.arange(1, 1024, dtype=torch.float64).log()
    for fit, count in ((("s", "b"), 2), (("s",), 1), (("b",), 1)):
        factors = Factors.of(SHAPE, "head", fit, SOFTMAX, weights)
        assert factors.zeros().shape == (2, 4, count)
        moves = []
        for i in range(count):
            coordinates = factors.zeros()
            coordinates[..., i] = 1.0
            s, b = factors.values(coordinates)
            moves.append(s[0, 0] * log_n + b[0, 0] - 1)
        assert [float((weights * move**2).sum()) for move in moves] == pytest.approx([1.0] * count)
        if count == 2:
            assert float((weights * moves[0] * moves[1]).sum()) == pytest.approx(0.0, abs=1e-12)


def test_tables_hold_what_is_shared(tmp_path: Path) -> None:
    for per, wanted in (("model", (0.0, 0.75)), ("layer", (((0.0,) * 4,) * 2, ((1.0,) * 4, (0.5,) * 4)))):
        start = SSMax(s=0.0, b=((1.0, 1.0, 1.0, 1.0), (0.2, 0.8, 0.4, 0.6)))
        factors = Factors.of(SHAPE, per, ("s", "b"), start, position_weights((64,)))
        written = tables(factors.values(factors.zeros()), SHAPE)
        assert tuple(written) == wanted
        place = Place(tmp_path / f"{per}.json", {"seed": 0})
        place.write(written, {"steps": 0})
        attention = parse(f"ssmax:s={place.path},b={place.path}")
        assert (attention, attention.resolve(SHAPE)) == (SSMax(*wanted), SSMax(*wanted))


@pytest.mark.parametrize("name", STATISTICS)
def test_scores_of_half_the_size_need_twice_the_factor(name: str) -> None:
    reference = torch.randn(3, 8, 500, generator=torch.Generator().manual_seed(0)) * 2
    found = alike(STATISTICS[name], reference / torch.tensor([1.0, 2.0, 0.5])[:, None, None], reference)
    torch.testing.assert_close(found, torch.tensor([1.0, 2.0, 0.5]), rtol=0.05 if name == "gaps" else 1e-4, atol=0)


def test_one_key_above_equal_others_needs_a_factor_that_grows_with_log_n() -> None:
    """Its weight is 1 / (1 + n e^-cz) beside n others, so c = 1 + log(n / n_train) / z keeps it: s is 1 / z."""
    z, lengths = 5.0, [65, 257, 1025]
    rows = [torch.cat((torch.full((1, 1, 1), z), torch.zeros(1, 1, n - 1)), -1) for n in lengths]
    factor = torch.stack([alike(STATISTICS["largest"], row, rows[0])[0] for row in rows]).double()
    wanted = [1 + math.log((n - 1) / (lengths[0] - 1)) / z for n in lengths]
    assert factor.tolist() == pytest.approx(wanted, rel=1e-4)
    factors = Factors.of(Shape(1, 1, 64), "head", ("s", "b"), SOFTMAX, position_weights((1025,)))
    log_n = torch.tensor([n - 1 for n in lengths], dtype=torch.float64).log()
    s, b = closed_form.line(factors, log_n, factor[None, None])
    assert float(s) == pytest.approx(1 / z, rel=1e-3)
    assert float(b) == pytest.approx(1 - math.log(64) / z, rel=1e-3)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Four texts of which the first window is held out."""
    from pydoc_data.topics import topics

    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    pages = [text for _, text in sorted(topics.items()) if len(text) > 3000][:4]
    file.write_text("".join(json.dumps({"text": page[:3000]}) + "\n" for page in pages), encoding="utf-8")
    return Calibration(lengths=(32, 96), steps=4, documents=1, held_out=4, texts=(str(file),), lr=0.1)


def test_what_is_held_out_is_never_fitted_on(asked: Calibration, tiny_folder: Path) -> None:
    tokenizer = Checkpoint(str(tiny_folder)).tokenizer
    fitted = documents.pieces(asked, tokenizer, 100)
    task = Loss(lengths=(96,), documents=4, texts=asked.texts)
    assert documents.held_out(asked).identity() == task.identity()
    held_out = [document.ids for document in task.cut(tokenizer, 96)]
    assert len(held_out) == 4
    assert len(fitted) > 8
    assert all(len(ids) == 96 for ids in fitted)
    assert len({tuple(ids) for ids in [*fitted, *held_out]}) == len(fitted) + 4
    longer = replace(asked, held_out_length=200)
    two_each = documents.pieces(longer, tokenizer, 100)
    whole = Loss(lengths=(200,), documents=1, texts=asked.texts).up_to(tokenizer, 200, 100)[4:]
    assert [ids for document in whole for ids in (document.ids[:96], document.ids[96:192])] == two_each
    with pytest.raises(UserError, match="none is left to fit on"):
        documents.pieces(replace(asked, held_out=1000), tokenizer, 4)
    assert sorted(documents.order(5, 10, seed=1)[:5]) == list(range(5))
    assert documents.order(5, 10, seed=1) != documents.order(5, 10, seed=2)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("closed", [None, "gaps"])
def test_a_killed_calibration_goes_on_to_the_same_table(
    closed: str | None, asked: Calibration, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Checkpoint(str(tiny_folder))
    same = replace(asked, closed_form=closed, reference=48, documents=1 if closed is None else 4)
    whole = calibrate(source, same, tmp_path / "whole.json")
    keep, kept = Place.keep, []

    def deadly(self: Place, state: Mapping[str, Any]) -> None:
        keep(self, state)
        kept.append(state)
        if len(kept) == 2:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Place, "keep", deadly)
        with pytest.raises(KilledError):
            calibrate(source, same, tmp_path / "killed.json")
    assert not (tmp_path / "killed.json").exists()
    with pytest.raises(UserError, match="is of another calibration: its seed is 0, not 1"):
        calibrate(source, replace(same, seed=1), tmp_path / "killed.json")
    said: list[str] = []
    assert calibrate(source, same, tmp_path / "killed.json", say=said.append) == whole
    assert any("4/4" in line for line in said)
    assert not any("2/4" in line for line in said)
    both = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "killed")]
    assert all(both[0][name] == both[1][name] for name in ("s", "b"))
    assert both[0]["made"]["asked"] == both[1]["made"]["asked"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.json", "whole.json"]
    assert whole != SOFTMAX
    with pytest.raises(UserError, match="holds another calibration: its seed is 0, not 1"):
        calibrate(source, replace(same, seed=1), tmp_path / "whole.json")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fit": ("s", "c")}, "unknown parameter to fit: 'c'"),
        ({"fit": ()}, "fit must name s, b or both"),
        ({"per": "token"}, "unknown value of per: 'token'"),
        ({"closed_form": "entropie"}, "did you mean 'entropy'"),
        ({"steps": -1}, "steps must be 0 to"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"held_out_length": 64}, "96 tokens, or longer; given 64"),
        ({"closed_form": "entropy"}, "needs --lengths beyond the 256 tokens"),
        ({"closed_form": "entropy", "reference": 8}, "the reference must be 32 tokens or more"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_mistakes_are_said_before_the_weights_are_loaded(
    changes: dict[str, Any], says: str, asked: Calibration, tiny_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        calibrate(Checkpoint(str(tiny_folder)), replace(asked, **changes), tmp_path / "table.json")
    assert not (tmp_path / "table.json").exists()


def test_a_file_that_is_no_table_stays(asked: Calibration, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    with pytest.raises(UserError, match="holds something else already"):
        calibrate(Checkpoint(str(tiny_folder)), asked, tmp_path / "notes.json")
    assert (tmp_path / "notes.json").read_text() == "{}"


def test_only_softmax_and_ssmax_are_calibrated() -> None:
    root = Path(__file__).parents[2] / "checkpoints"
    with pytest.raises(UserError, match="was trained with LSSAR"):
        start_of(Checkpoint(str(root / "lssar-seed0")))
    trained = start_of(Checkpoint(str(root / "ssmax-seed0")))
    assert isinstance(trained.ssmax.s, tuple)
    assert trained.attention == trained.ssmax
    assert start_of(Checkpoint(str(root / "softmax-seed0"))).ssmax == SOFTMAX
