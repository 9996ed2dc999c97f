"""An attention of one's own is trained, run, converted and loaded like one of the package."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import seam
from ssmax_eval.rewriting.register import OWN
from ssmax_eval.run.identity import attention_identity
from ssmax_eval.store import read_runs
from ssmax_eval.train import Recipe, train

MINE = """
from dataclasses import dataclass

import torch

from bend import bent
from ssmax_eval.attention import Attention, PerHead, row


@dataclass(frozen=True)
class Mine(Attention):
    learned = ("gain",)

    gain: PerHead | None = None

    def start(self, name, shape):
        return 0.5

    def weights(self, rows):
        return bent(row(self.gain, rows.layer, rows.scores) * rows.scores - rows.n.log()).masked_fill(~rows.visible, 0)
"""
BEND = "import torch\n\n\ndef bent(z):\n    return torch.sigmoid(z)\n"
IDS = torch.arange(60) * 7 % 500


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def written(folder: Path) -> Path:
    """The file of the attention, with a helper beside it."""
    folder.mkdir()
    (folder / "bend.py").write_text(BEND)
    path = folder / "my_attention.py"
    path.write_text(MINE)
    return path


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("mine") / "code")


@pytest.fixture(scope="module")
def trained(recipe: Recipe, mine: Path) -> Path:
    """A few steps, by the command line."""
    folder = mine.parents[1] / "trained"
    settings = [f"--set={name}={getattr(recipe, name)}" for name in ("layers", "heads", "width", "train_length")]
    settings += ["--set=vocab_size=600", "--set=steps=6", "--set=warmup=1", "--set=log_every=2", "--set=save_every=2"]
    settings += ["--set=needles=2", "--set=questions=1", "--set=table_sequences=1", "--set=bf16=false"]
    made = call(
        "train", "cpu", "--attention", f"{mine}:Mine", "--text", recipe.texts[0] + "/one.txt", *settings, "-o", folder
    )
    assert made.exit_code == 0, made.output
    return folder


def losses(folder: Path, attention: str = "auto", trust: bool = True) -> torch.Tensor:
    return ssmax_eval.load(str(folder), attention, trust_remote_code=trust).token_losses(IDS)


def test_it_gives_the_same_losses_wherever_it_is_loaded(trained: Path, mine: Path, tmp_path: Path) -> None:
    weights = load_file(trained / "model.safetensors")
    gains = torch.stack([weights[f"model.layers.{i}.self_attn.ssmax_gain"] for i in range(2)])
    assert gains.shape == (2, 2)
    assert (gains - 0.5).abs().min() > 0
    assert json.loads((trained / "training.json").read_text())["learned"]["gain"] == gains.tolist()
    expected = losses(trained)
    assert torch.equal(losses(trained, f"{mine}:Mine", trust=False), expected)
    assert not torch.equal(losses(trained, f"{mine}:Mine:gain=0.5", trust=False), expected)
    converted = call("convert", trained, "--attention", "auto", "--trust-remote-code", "-o", tmp_path / "converted")
    assert converted.exit_code == 0, converted.output
    assert torch.equal(losses(tmp_path / "converted"), expected)
    outside = tmp_path / "elsewhere"
    shutil.move(tmp_path / "converted", outside)
    ssmax_eval.register(trust_remote_code=True)
    try:
        hf = AutoModelForCausalLM.from_pretrained(outside)
        with torch.no_grad():
            logits = hf(input_ids=IDS[None], use_cache=False).logits[0, :-1]
        plain = torch.nn.functional.cross_entropy(logits, IDS[1:], reduction="none")
        torch.testing.assert_close(plain, expected, rtol=1e-4, atol=1e-4)
    finally:
        seam.forget(OWN)


def test_the_command_line_runs_it_where_its_code_is_trusted(trained: Path, tmp_path: Path) -> None:
    run = ["run", trained, "--task", "loss", "--lengths", "64", "--documents", "1", "-o", tmp_path / "runs"]
    refused = call(*run)
    assert refused.exit_code == 2
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("Error")]
    assert f"ssmax-eval run {trained} --trust-remote-code" in line
    assert call(*run, "--attention", "softmax").exit_code == 0
    assert call(*run, "--trust-remote-code").exit_code == 0
    identities = [record["identity"]["attention"] for record in read_runs(tmp_path / "runs").values()]
    (own,) = [identity for identity in identities if identity["name"] == "Mine"]
    assert own["code"]
    assert len(own["gain"]) == 2


def test_a_changed_helper_is_another_checkpoint_and_another_attention(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    shutil.copytree(trained, folder)
    found = []
    for content in (BEND, BEND.replace("sigmoid(z)", "sigmoid(2 * z)")):
        (folder / "bend.py").write_text(content)
        checkpoint = Checkpoint(str(folder), trust_remote_code=True)
        assert checkpoint.shape.from_config is not None
        identity = attention_identity(checkpoint.shape.from_config.resolve(checkpoint.shape))
        found.append((checkpoint.fingerprint, identity["code"], losses(folder)))
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    assert not torch.equal(found[0][2], found[1][2])
    assert torch.equal(found[0][2], losses(trained))


def test_it_goes_on_and_under_another_attention(trained: Path, recipe: Recipe, mine: Path, tmp_path: Path) -> None:
    base = replace(recipe, steps=2, warmup=1, lr=1e-9)
    with pytest.raises(UserError, match="--trust-remote-code"):
        train(replace(base, attention="auto"), tmp_path / "more", str(trained))
    train(replace(base, attention="auto"), tmp_path / "more", str(trained), trust_remote_code=True)
    torch.testing.assert_close(losses(tmp_path / "more"), losses(trained), rtol=1e-4, atol=1e-4)
    train(replace(base, attention="softmax"), tmp_path / "softmax", str(trained))
    assert not list((tmp_path / "softmax").glob("*.py"))
    assert (losses(tmp_path / "softmax", trust=False) - losses(trained)).abs().max() > 1e-3
    same = replace(base, attention=f"{mine}:Mine")
    train(same, tmp_path / "mine")
    (mine.parent / "bend.py").write_text(BEND + "# another\n")
    try:
        with pytest.raises(UserError, match="had other code of its attention"):
            train(same, tmp_path / "mine")
    finally:
        (mine.parent / "bend.py").write_text(BEND)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("from bend import bent", "from .bend import bent", "relative import"),
        ('("gain",)', '("gian",)', "must name fields of the class; got 'gian'; its fields: "),
        ("gain: PerHead | None = None", "gain: PerHead = 0.5", "must be None by default"),
        ("    def start(self, name, shape):\n        return 0.5\n", "", "give one, as in gain=1, or define `start`"),
    ],
)
def test_what_cannot_be_carried_or_learned_is_said_before_anything_is_trained(
    old: str, new: str, message: str, recipe: Recipe, tmp_path: Path
) -> None:
    path = written(tmp_path / "code")
    assert old in MINE
    path.write_text(MINE.replace(old, new))
    with pytest.raises(UserError, match=message):
        train(replace(recipe, attention=f"{path}:Mine"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_config_names_no_file_outside_its_folder(trained: Path, mine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    shutil.copytree(trained, folder)
    content = json.loads((folder / "config.json").read_text())
    content["ssmax_eval"]["attention"] = f"{mine}:Mine"
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="must be a file beside it"):
        losses(folder)


def test_a_training_that_was_stopped_goes_on_with_the_code_it_began_with(recipe: Recipe, tmp_path: Path) -> None:
    path = written(tmp_path / "code")
    given = replace(recipe, attention=f"{path}:Mine", steps=8, log_every=2, save_every=2)
    train(given, tmp_path / "whole")

    def stop(line: str) -> None:
        if line.startswith("step 8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(given, tmp_path / "stopped", say=stop)
    assert not (tmp_path / "stopped" / "config.json").exists()
    (path.parent / "bend.py").write_text(BEND + "# another\n")
    with pytest.raises(UserError, match="had other code of its attention"):
        train(given, tmp_path / "stopped")
    (path.parent / "bend.py").write_text(BEND)
    assert train(given, tmp_path / "stopped")
    torch.testing.assert_close(losses(tmp_path / "stopped"), losses(tmp_path / "whole"), rtol=1e-5, atol=1e-5)
    card = (tmp_path / "stopped" / "README.md").read_text()
    command = f"ssmax-eval run {tmp_path / 'stopped'} --task niah_reference,key_attention_reference"
    assert f"{command} --trust-remote-code\n" in card
    assert "read it before you run it" in card
