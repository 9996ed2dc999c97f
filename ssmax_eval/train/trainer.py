"""transformers' own Trainer, with our loss, schedule and record."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from ssmax_eval.errors import UserError
from ssmax_eval.files import append_line, whole_lines, write_whole
from ssmax_eval.rewriting import seam
from ssmax_eval.train.data import ANSWER, FREE, LOOKUP, TEXT, Data
from ssmax_eval.train.recipe import Recipe

PROGRESS = "trainer"
"""Folder within the output folder where transformers keeps what it needs to go on; gone at the end."""
CURVE = "training.jsonl"


def arguments(recipe: Recipe, folder: Path) -> TrainingArguments:
    """Return the settings of transformers' Trainer for a recipe on this machine."""
    gpu = torch.cuda.is_available()
    made = TrainingArguments(
        output_dir=str(folder / PROGRESS),
        max_steps=recipe.steps - recipe.start_step,
        per_device_train_batch_size=1,  # an item of the data is a batch already
        max_grad_norm=recipe.clip,
        logging_strategy="steps",
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=recipe.save_every,
        save_total_limit=1,
        train_sampling_strategy="sequential",
        dataloader_num_workers=0,
        dataloader_pin_memory=gpu,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not gpu,
        bf16=recipe.bf16,
        seed=recipe.seed,
    )
    seam.use_one_gpu(made)
    return made


class LMTrainer(Trainer):  # type: ignore[misc]
    """Train on `Data`, and write the loss curve to training.jsonl."""

    def __init__(
        self, recipe: Recipe, folder: Path, hf: Any, data: Data, keep: Callable[[int], None], say: Callable[[str], None]
    ) -> None:
        super().__init__(hf, arguments(recipe, folder), train_dataset=data, data_collator=_only)
        self.remove_callback(PrinterCallback)
        self.add_callback(_Keeping(recipe, keep))
        self.recipe, self.curve = recipe, folder / CURVE
        self.weights = torch.ones(5, device=self.args.device)
        self.weights[[ANSWER, LOOKUP]], self.weights[FREE] = recipe.answer_weight, 0.0
        self.seen = torch.zeros(3, 5, device=self.args.device)
        self.before, self.resumed_at, self.say = 0.0, 0, say
        self.started, self.said_at = time.monotonic(), -math.inf

    def compute_loss(
        self, model: Any, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Return the weighted mean of −log p over the tokens of a batch, in nats, as float32."""
        ids, kinds = inputs["input_ids"], inputs["kinds"].long()
        logits = model(input_ids=ids, use_cache=False).logits.float()
        wanted = ids.roll(-1, 1).flatten()
        kind = kinds.roll(-1, 1)
        kind[:, -1] = FREE  # nothing follows the last token
        kind = kind.flatten()
        losses = cross_entropy(logits.flatten(0, 1), wanted, reduction="none")
        weights = self.weights[kind]
        with torch.no_grad():
            answers = kind == ANSWER
            right = torch.zeros_like(losses)
            right[answers] = (logits.flatten(0, 1)[answers].argmax(-1) == wanted[answers]).float()
            for row, values in enumerate((losses, torch.ones_like(losses), right)):
                self.seen[row].index_add_(0, kind, values)
        loss = (losses * weights).sum() / weights.sum()
        if not math.isfinite(value := float(loss.detach())):
            raise stop_error(recipe_step(self.recipe, self.state) + 1, f"the loss is {value}")
        return loss

    def create_optimizer(self, model: Any = None) -> AdamW:
        """AdamW; matrices decay, the attention's own parameters have a learning rate of their own."""
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        own = [p for name, p in named if "ssmax_" in name]
        matrices = [p for _, p in named if p.ndim > 1]
        gains = [p for name, p in named if p.ndim <= 1 and "ssmax_" not in name]
        groups: list[dict[str, Any]] = [{"params": matrices, "weight_decay": self.recipe.weight_decay}]
        groups += [{"params": gains}] + (
            [{"params": own, "lr": self.recipe.lr * self.recipe.parameter_lr}] if own else []
        )
        self.optimizer = AdamW(
            groups, self.recipe.lr, (0.9, self.recipe.beta2), weight_decay=0.0, fused=self.args.device.type == "cuda"
        )
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        """Return a schedule: a warm-up, also where a training goes on, times the cosine of the whole training."""
        recipe = self.recipe

        def factor(step: int) -> float:
            cosine = 0.5 * (1 + math.cos(math.pi * (recipe.start_step + step) / recipe.steps))
            return min((step + 1) / recipe.warmup, 1.0) * (recipe.lr_floor + (1 - recipe.lr_floor) * cosine)

        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
        return self.lr_scheduler

    @property
    def seconds(self) -> float:
        """Seconds of training so far, also those before a kill."""
        return round(self.before + time.monotonic() - self.started, 3)

    def rows(self) -> list[dict[str, Any]]:
        """Return the loss curve so far."""
        return curve(self.curve.parent)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write a line of training.jsonl, and every ten seconds one for a person."""
        if "loss" not in logs:
            return
        recipe, step = self.recipe, recipe_step(self.recipe, self.state)
        losses, counts, right = self.seen.cpu().clone()
        self.seen.zero_()
        here = (step - recipe.start_step - self.resumed_at) * recipe.sequences * recipe.train_length
        speed = here / max(time.monotonic() - self.started, 1e-9)
        row: dict[str, Any] = {"step": step, "loss": logs["loss"]}
        if counts[TEXT]:
            row["loss_text"] = float(losses[TEXT] / counts[TEXT])
        if counts[ANSWER]:
            row["loss_answer"] = float(losses[ANSWER] / counts[ANSWER])
            row["right"] = float(right[ANSWER] / counts[ANSWER])
        if counts[LOOKUP]:
            row["loss_lookup"] = float(losses[LOOKUP] / counts[LOOKUP])
        row |= {"grad_norm": logs.get("grad_norm"), "lr": logs["learning_rate"], "seconds": self.seconds}
        row = {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}
        append_line(self.curve, json.dumps(row))
        if time.monotonic() - self.said_at > 10 or step >= recipe.steps:
            self.said_at = time.monotonic()
            left = (recipe.steps - step) * recipe.sequences * recipe.train_length / speed
            shown = "".join(
                f", {k.removeprefix('loss_')} {row[k]:.3f}" for k in ("loss_text", "loss_answer", "right") if k in row
            )
            self.say(
                f"step {step}/{recipe.steps}: loss {row['loss']:.3f}{shown}; "
                f"{speed:,.0f} tokens/s, {left / 60:.1f} minutes left"
            )

    def go_on(self, progress: Path | None) -> None:
        """Train to the end from the save `progress`, or from the beginning; drop what the curve holds beyond it."""
        self.resumed_at = 0 if progress is None else int(progress.name.rpartition("-")[2])
        reached = self.recipe.start_step + self.resumed_at
        kept = [row for row in curve(self.curve.parent) if row["step"] <= reached]
        self.before = kept[-1]["seconds"] if kept else 0.0
        write_whole(self.curve, "".join(json.dumps(row) + "\n" for row in kept))
        self.train(resume_from_checkpoint=None if progress is None else str(progress))


class _Keeping(TrainerCallback):  # type: ignore[misc]
    """Call `keep` after the steps at which a checkpoint is kept."""

    def __init__(self, recipe: Recipe, keep: Callable[[int], None]) -> None:
        self.recipe, self.keep = recipe, keep

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if (step := recipe_step(self.recipe, state)) in self.recipe.kept:
            self.keep(step)


def stop_error(step: int, why: str) -> UserError:
    """The error of a training that cannot go on."""
    return UserError(
        f"the training stopped at step {step}: {why}; a lower lr, a longer warmup, a lower clip or bf16=false would "
        "help, in a new folder"
    )


def refuse_broken(hf: Any, step: int) -> None:
    """Raise UserError where a weight is NaN or infinite."""
    for name, weight in hf.named_parameters():
        if not weight.isfinite().all():
            raise stop_error(step, f"{name!r} is not finite")


def recipe_step(recipe: Recipe, state: TrainerState) -> int:
    """Return the steps done since the very beginning."""
    return int(recipe.start_step + state.global_step)


def curve(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of training.jsonl, without a last line that a kill cut short."""
    return [json.loads(line) for line in whole_lines(folder / CURVE)]


def last_progress(folder: Path) -> Path | None:
    """Return the newest save that transformers finished (it writes the state last), or None."""
    whole = [path.parent for path in (folder / PROGRESS).glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _only(items: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    (item,) = items
    return item
