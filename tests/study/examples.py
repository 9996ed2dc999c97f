"""Made-up stores and checkpoints of small families, in the layout that training and measuring leave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.store import Store

N = 128
Value = float | int | str | bool | None
ATTENTION = {"softmax": "softmax", "ssmax": "ssmax", "lssar": "lssar", "ssmax-bias": "ssmax", "lssa": "lssa"}
ATTENTION |= {"ssmax-text": "ssmax", "per-n-512": "per_n"}
REACH = {"softmax": 200.0, "ssmax": 3000.0, "lssar": 1000.0}
"""Tokens at which half of the needles are found."""
RISE = {"softmax": 0.5, "ssmax": 0.01, "lssar": 0.02}
"""Nats that the loss rises for each octave beyond the training length."""


def checkpoint(folder: Path, family: str, seed: int, finished: bool = True, record: bool = False) -> None:
    """A checkpoint's folder with all that the page reads of it, or the record of a training without weights."""
    name = f"{family}-seed{seed}"
    attention = ATTENTION.get(family, "softmax")
    rng, draw = np.random.default_rng(seed), np.random.default_rng(100 + seed)
    learned = {key: draw.uniform(0.1, 0.4, (2, 4)) for key in {"ssmax": "s", "ssmax-bias": "sb"}.get(family, "")}
    if family == "per-n-512":
        learned = {"p": 0.5 + 0.2 * np.log(np.arange(1, N + 1)) + draw.normal(0, 0.02, (2, N))}
    training = {
        "recipe": {
            "layers": 2,
            "heads": 4,
            "width": 128,
            "train_length": N,
            "steps": 400,
            "start_step": 0,
            "needles": 4,
        },
        "from": None,
        "attention": attention,
        "parameters": 651392,
        "command": f"ssmax-eval train cpu --attention {attention} --seed {seed} -o checkpoints/{name}",
        "texts": ["persuasion"],
        "threads": 1,
        "device": "cpu",
        "seconds": 300.0 + seed,
        "learned": {key: values.tolist() for key, values in learned.items()},
        "finished": finished,
    }
    lower = 0.01 + 0.001 * seed if attention == "ssmax" else 0.0
    rows = [
        {"step": step, "loss_text": 3 + 3 * np.exp(-step / 80) + rng.normal(0, 0.02) - lower, "right": step / 400}
        for step in range(10, 401, 10)
    ]
    if record:
        curve = {column: [row[column] for row in rows] for column in rows[0]}
        content = {"name": name, "attention": attention, "training": training, "curve": curve}
        (folder / "records").mkdir(parents=True, exist_ok=True)
        (folder / "records" / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")))
        return
    home = folder / name
    home.mkdir(parents=True)
    (home / "training.json").write_text(json.dumps(training))
    (home / "config.json").write_text(json.dumps({"ssmax_eval": {"attention": attention}}))
    (home / "training.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def runs(
    store: Path, family: str, seed: int, rope: str, trials: int = 5, documents: int = 5, length: int = 20_000
) -> None:
    """The three tasks of one checkpoint."""
    name = f"{family}-seed{seed}"
    rng, noise = np.random.default_rng(17), np.random.default_rng(seed)
    reach, rise = REACH.get(family, 200.0), RISE.get(family, 0.3)
    chance = {n: 1 / (1 + (n / reach) ** 3) for n in (N, 8 * N, 10 * N)}
    grid = [(n, depth, trial) for n in chance for depth in (0.0, 0.5, 1.0) for trial in range(trials)]
    needles, heads = [], []
    for n, depth, trial in grid:
        found = float(rng.random() < chance[n])
        values: dict[str, Value] = {"score": found, "leading_digits": found, "expected": "1234", "prompt": "plain"}
        values["actual_length"] = n
        needles.append(Measurement(Cell(n, depth=depth, trial=trial), values))
        if depth == 0.5:
            columns: Mapping[str, Sequence[Value]] = {
                "layer": [0, 0, 1, 1],
                "head": [0, 1, 0, 1],
                "position": [n - 3] * 4,
                "needle_score": [0.01, 0.02, chance[n] * noise.uniform(0.8, 1), 0.03][:: 1 if seed % 2 else -1],
            }
            values = {**values, "answer_position": n - 3}
            heads.append(Measurement(Cell(n, depth=depth, trial=trial), values, columns))
    position = np.arange(1, length)
    shift = noise.normal(0, 0.05, documents)
    curve = 3 + 2 / np.sqrt(position) + rise * np.clip(np.log2(position / N), 0, None) + 0.01 * seed
    texts = [
        Measurement(
            Cell(length, document=document),
            {"source": "emma"},
            {
                "position": position.tolist(),
                "nll": np.round(curve + shift[document], 3).tolist(),
            },
        )
        for document in range(documents)
    ]
    texts += [  # documents of the training length, half a nat lower than the openings of the long ones
        Measurement(
            Cell(N, document=document),
            {"source": "emma"},
            {"position": range(1, N), "nll": np.round(curve[: N - 1] + shift[document] - 0.5, 3).tolist()},
        )
        for document in range(documents)
    ]
    for task, cells in (("niah", needles), ("key_attention", heads), ("loss", texts)):
        run = f"{name}_{rope.replace(' ', '')}_{task}"
        about = {
            "checkpoint": name,
            "attention": ATTENTION.get(family, "softmax"),
            "task": task,
            "train_length": N,
            "dtype": "float32",
            "rope": rope,
        }
        command = ["ssmax-eval", "run", f"checkpoints/{name}", "--task", task]
        if rope:
            command += ["--rope-theta-scale", "50"]
        with Store(store).writer(run, {"columns": about, "identity": {"run": run}}, {"command": command}) as writer:
            for cell in cells:
                writer.append(cell)


def everything(
    folder: Path, families: Mapping[str, Sequence[int]], plain: Sequence[str] = ("softmax", "ssmax", "lssar")
) -> tuple[Path, Path]:
    """A store and a checkpoints folder, of these families with these seeds; only seed 0 of `plain` with plain RoPE.

    Models trained on text alone were not evaluated.
    """
    for family, seeds in families.items():
        for seed in seeds:
            checkpoint(folder / "checkpoints", family, seed)
            if not family.endswith("-text"):
                runs(folder / "runs", family, seed, "base x50")
            if family in plain and seed == 0:
                runs(folder / "runs", family, seed, "")
    return folder / "runs", folder / "checkpoints"
