"""A suite from the command line: measured and summed up, on the tiny checkpoint."""

from pathlib import Path

from ssmax_eval import read_results
from tests.cli.typed import answer, call

TASK = "task: niah\npreset: {name}\nlengths: [200]\ndepths: [0.5]\ntrials: 1\nanswer_prefix: '{prefix}'\n"


def test_a_suite_of_ones_own_is_run_and_summed_up(tiny_folder: Path, tmp_path: Path) -> None:
    for name, prefix in (("short", ""), ("begun", "The number is")):
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, prefix=prefix))
    suite = tmp_path / "mine.yaml"
    suite.write_text("suite: mine\ntasks: {finding: [short.yaml], answering: [begun.yaml]}\n")
    command = ["run", tiny_folder, "--suite", suite, "-o", tmp_path / "runs"]
    done = call(*command)
    assert done.exit_code == 0, done.stderr
    assert set(read_results(tmp_path / "runs")["task"]) == {"short", "begun"}
    assert "mine: mean over 2 tasks (share; 95 % over trials)\n  tokens" in done.stdout
    assert done.stderr.endswith(f"Next: ssmax-eval report {tmp_path / 'runs'} --suite {suite} -o report\n")
    assert "Everything is in the store already" in call(*command).stderr
    wrong = call("report", tmp_path / "runs", "--suite", tmp_path / "short.yaml", "-o", tmp_path / "report")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "is no suite" in wrong.stderr


def test_a_dry_run_of_a_suite_names_its_tasks(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("suite: mine\ntasks: {all: [niah, loss]}\n")
    forecast = answer("run", tiny_folder, "--suite", tmp_path / "mine.yaml", "--lengths", "256", "--dry-run")[
        "forecast"
    ]
    assert [one["task"] for one in forecast] == ["niah", "loss"]


def test_an_experiment_may_name_a_suite(tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("suite: mine\ntasks: {all: [niah, loss]}\n")
    tasks = "[mine.yaml, {task: key_attention, trials: 1}]"
    (tmp_path / "experiment.yaml").write_text(f"checkpoint: {tiny_folder}\ntask: {tasks}\nlengths: 256\n")
    forecast = answer("run", "--config", tmp_path / "experiment.yaml", "--dry-run")["forecast"]
    assert [one["task"] for one in forecast] == ["niah", "loss", "key_attention"]
    (tmp_path / "experiment.yaml").write_text(f"checkpoint: {tiny_folder}\ntask: [{{task: mine.yaml, trials: 1}}]\n")
    wrong = call("run", "--config", tmp_path / "experiment.yaml", "--dry-run")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "mine.yaml' is a suite of tasks, not one; it takes no fields of its own" in wrong.stderr
