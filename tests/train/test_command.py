"""`ssmax-eval train` as a user types it, to the evaluation of what it made."""

from pathlib import Path

import yaml
from click.testing import CliRunner, Result

from ssmax_eval import read_results
from ssmax_eval.cli.main import main
from ssmax_eval.train import Recipe


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def test_train_then_run(recipe: Recipe, texts: Path, tmp_path: Path) -> None:
    shape = {
        name: getattr(recipe, name)
        for name in ("layers", "heads", "width", "train_length", "vocab_size", "lr", "text_sequences")
    }
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump({**shape, "needle_sequences": 2, "needles": 2, "questions": 1, "steps": 9, "bf16": False})
    )
    command = ["train", path, "--attention", "ssmax", "--learn", "s,b", "--text", texts / "one.txt", "--seed", 5]
    command += ["--threads", 1, "--set", "steps=4", "--set", "log_every=2", "--set", "save_every=2"]
    first = call(*command, "-o", tmp_path / "small")
    assert first.exit_code == 0, first.output
    assert "step 4/4: loss" in first.stdout
    assert "is trained already: ssmax:s=" in call(*command, "-o", tmp_path / "small").stdout
    run = ["run", tmp_path / "small", "--task", "niah", "--lengths", 128, "--depths", "0,1", "--trials", 1]
    run += [
        "--set",
        "intro=",
        "--set",
        "digits=4",
        "--set",
        "question=",
        "--text",
        texts / "two.txt",
        "-o",
        tmp_path / "runs",
    ]
    evaluated = call(*run)
    assert evaluated.exit_code == 0, evaluated.output
    frame = read_results(tmp_path / "runs")
    assert (frame.attention == "ssmax:s=table,b=table").all()
    assert frame.actual_depth.tolist() == [0.0, 1.0]
    wrong = call("train", path, "--attention", "ssmaxx", "-o", tmp_path / "other")
    assert wrong.exit_code == 2
    assert "did you mean 'ssmax'?" in wrong.stderr
    assert call("train", "cpu", "--text", "nowhere", "-o", tmp_path / "other").stderr.startswith("Error: no such text")
    assert not (tmp_path / "other").exists()
