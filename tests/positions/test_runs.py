"""Position maps from a command to a report; in converted checkpoints; and maps of the user's own."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError
from ssmax_eval.model import Request
from ssmax_eval.positions import POSITIONS, contract, describe, parse
from ssmax_eval.positions.base import PositionMap
from ssmax_eval.report.series import series_table
from ssmax_eval.run.evaluate import prepare
from tests.documents import ROOT
from tests.test_docs import example

OWN = example(ROOT / "docs" / "positions.md", "my_map.py")
IDS = torch.randint(3, 600, (60,), generator=torch.Generator().manual_seed(4))


def ran(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_one_command_runs_the_product_and_reports_keep_it_apart(tiny_folder: Path, tmp_path: Path) -> None:
    maps = ["--position", "none", "--position", "rerope:window=16"]
    ran("run", tiny_folder, *maps, "--task", "loss", "--lengths", 32, "--documents", 2, "-o", tmp_path / "runs")
    plain = prepare(str(tiny_folder), "auto", "loss", tmp_path / "runs", lengths=[32], documents=2)
    folders = sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert len(folders) == 2
    assert plain.runs[0].name in folders
    mapped = next(name for name in folders if "softmax_loss_position-rerope-window-16_" in name)
    identity = json.loads((tmp_path / "runs" / mapped / "run.json").read_text())["identity"]
    assert identity["position_map"] == {"name": "rerope", "version": 1, "window": 16}
    assert identity.keys() - plain.runs[0].identity.keys() == {"position_map"}
    frame = ssmax_eval.read_results(tmp_path / "runs")
    assert set(frame["position_map"].dropna()) == {"rerope:window=16"}
    assert series_table(frame)["series"].tolist() == ["softmax", "softmax + rerope:window=16"]
    assert "softmax + rerope:window=16" in " ".join(ssmax_eval.compare(frame, baseline="softmax")["sentence"])
    assert "softmax + rerope:window=16" in ran("runs", tmp_path / "runs")


def test_what_tasks_ask_of_a_model_is_the_same_in_pieces(tiny_folder: Path) -> None:
    model = ssmax_eval.load(str(tiny_folder), "ssmax:s=0.4", position="dca:chunk=20,local=5", dtype="float64")
    plain = ssmax_eval.load(str(tiny_folder), "ssmax:s=0.4", dtype="float64")
    assert model.resumable
    assert model.paddable
    whole = model.token_losses(IDS)
    assert float((whole - plain.token_losses(IDS))[20:].abs().max()) > 1e-3
    rows, looked_at = [5, 30, 59], model.attention_rows(IDS, [5, 30, 59], lambda a: a[0])
    assert all(torch.allclose(a.sum(-1), torch.ones(4, 3, dtype=a.dtype)) for a in looked_at)
    model.prefill_chunk = 17
    torch.testing.assert_close(model.token_losses(IDS), whole, rtol=1e-5, atol=1e-5)
    for a, b in zip(looked_at, model.attention_rows(IDS, rows, lambda a: a[0]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    model.prefill_chunk = None
    requests = [Request(IDS[:n].tolist(), 4) for n in (40, 33, 37)]
    alone = [model.generate(IDS[:n], 4) for n in (40, 33, 37)]
    assert [one.text for one in model.complete(requests)] == alone


def test_a_converted_checkpoint_carries_its_map(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "converted"
    ran("convert", tiny_folder, "--attention", "softmax", "--position", "self_extend:window=8,group=2", "-o", folder)
    position = Checkpoint(str(folder)).position
    assert describe(position) == "self_extend:window=8,group=2"
    mine = ssmax_eval.load(str(folder)).token_losses(IDS)
    given = ssmax_eval.load(str(tiny_folder), "softmax", position=position).token_losses(IDS)
    torch.testing.assert_close(mine, given)
    own = ssmax_eval.load(str(folder), position="none").token_losses(IDS)
    torch.testing.assert_close(own, ssmax_eval.load(str(tiny_folder), "softmax").token_losses(IDS))
    assert "--position self_extend:window=8,group=2" in (folder / "README.md").read_text()
    ssmax_eval.register()
    hf = AutoModelForCausalLM.from_pretrained(folder)
    with pytest.raises(UserError, match=r"load the checkpoint with ssmax_eval\.load"):
        hf(input_ids=IDS[None])


def test_a_map_of_the_users_own(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    place = f"{tmp_path / 'mine.py'}:Halved:window=6"
    assert "broken" not in ran("check", place)
    assert "ok       softmax + Halved:window=6" in ran(
        "check", tiny_folder, "--attention", "softmax", "--position", place
    )
    plan = prepare(str(tiny_folder), "softmax", "loss", tmp_path / "runs", position=place, lengths=[32])
    assert plan.runs[0].identity["position_map"].keys() == {"name", "version", "code", "window"}
    with pytest.raises(UserError, match="cannot hold a position map of your own"):
        ssmax_eval.convert(str(tiny_folder), "softmax", tmp_path / "new", position=place)


BROKEN = {
    "several parts": "return Pairs(), Pairs(first=query - 3, query=0, key=0)",
    "does not see its own key": "return (Pairs(stop=query),)",
    "from its own position": "return (Pairs(query=query - query.min(), key=key - key.max()),)",
}


@pytest.mark.parametrize("problem", BROKEN)
def test_broken_maps_break_the_contract(problem: str, tmp_path: Path) -> None:
    body = OWN.partition("        edge")[0]
    (tmp_path / "mine.py").write_text(f"{body}        {BROKEN[problem]}\n")
    position = parse(f"{tmp_path / 'mine.py'}:Halved")
    assert isinstance(position, PositionMap)
    assert any(problem in str(found) for _, found in contract.run(position))
    with pytest.raises(UserError, match="breaks the contract"):
        contract.demand(position)


@pytest.mark.parametrize("name", POSITIONS)
def test_every_map_keeps_the_contract(name: str) -> None:
    position = parse(name)
    assert position is not None
    assert [found for found in contract.run(position) if found[1] is not None] == []


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rerop", "did you mean 'rerope'"),
        ("rerope:win=3", "unknown parameter of position map 'rerope': 'win'"),
        ("rerope:window=0", "'window' of ReRoPE must be 1 or more"),
        ("leaky_rerope:window=4,k=0.5", "'k' of LeakyReRoPE must be 1 or more"),
        ("dca:chunk=8,local=8", "must be less than"),
        ("nope:window=3", "has no parameters"),
        ("self_extend:group=2.5", "must be a whole number"),
        ("absent.py:Halved", "cannot read"),
        ("ssmax_eval.errors:UserError", "must be a subclass"),
    ],
)
def test_mistakes_are_named(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(spec)


def test_a_model_as_it_is_takes_no_map(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs an attention"):
        prepare(str(tiny_folder), "none", "loss", tmp_path, position="nope")
