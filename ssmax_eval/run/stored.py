"""Look inside a result: the very prompt that a stored cell was measured with, and what came of it."""

from dataclasses import dataclass, fields
from typing import Any

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.store import Store, read_runs, run_folders
from ssmax_eval.tasks import TASKS, Task
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import NeedleTask
from ssmax_eval.tasks.prompts import Prompt

AROUND = 160
"""Characters shown on either side of a needle."""


@dataclass(frozen=True)
class Trial:
    """A stored cell with the task, and the tokenizer, that made it."""

    measurement: Measurement
    task: Task
    tokenizer: Any

    def prompt(self) -> Prompt:
        """The cell's prompt, token for token. UserError for a task without one."""
        if not isinstance(self.task, NeedleTask):
            raise UserError(f"a cell of task {self.task.kind!r} is a document and has no prompt; try `show`")
        return self.task.haystack(self.tokenizer)[0].prompt(self.measurement.cell)


def find(run: str, cell: str, checkpoint: str | None, texts: tuple[str, ...]) -> Trial:
    """The trial at `cell` ("context_length=512,depth=0.5,trial=0") of a run's folder.

    The checkpoint and the texts are those that the run's last session was given, unless given anew; that they are
    the ones measured is checked by their digests. UserError where they are not, and for a cell that is not there.
    """
    (folder,) = run_folders([run])[:1]
    record = read_runs(folder)[folder.name]
    wanted = _cell(cell)
    cells = Store(folder.parent).cells(folder.name)
    if wanted not in cells:
        near = next(iter(cells), None)
        hint = f"a cell that it has: {_written(near)}" if near else "it has none yet"
        raise UserError(f"{folder.name!r} has no cell {cell!r}; {hint}")
    unknown = {"checkpoint": record["columns"]["checkpoint"], "texts": []}
    given: dict[str, Any] = record["sessions"][-1].get("given", unknown)
    source = Checkpoint(checkpoint or given["checkpoint"])
    if source.fingerprint != record["identity"]["checkpoint"]["fingerprint"]:
        raise UserError(f"{source.name!r} is not the checkpoint that was measured; give it with --checkpoint")
    task = _task(record["identity"]["task"], wanted, texts or tuple(given["texts"]))
    if task.identity() != record["identity"]["task"]:
        raise UserError("the text is not the one that was measured; give it with --text")
    if source.tokenizer is None:
        raise UserError(f"{source.name!r} has no tokenizer")
    return Trial(cells[wanted], task, source.tokenizer)


def show(trial: Trial) -> str:
    """What was asked, what came, and how it was scored."""
    found = trial.measurement
    lines = [f"{trial.task.kind}  {_written(found.cell)}"]
    if found.error is not None:
        return "\n".join([*lines, f"failed: {found.error}"])
    if isinstance(trial.task, Loss):
        return "\n".join(lines + _surprises(trial, trial.task))
    prompt = trial.prompt()
    # The sentence's own number comes first; the expected answer repeats it at the very end.
    at = prompt.text.index(prompt.number)
    around = prompt.text[max(0, at - AROUND) : at + len(prompt.number) + AROUND]
    key = [trial.tokenizer.decode([i]) for i in prompt.ids[slice(*prompt.key)]]
    values = {k: v for k, v in found.values.items() if k not in ("answer", "expected")}
    return "\n".join(
        [
            *lines,
            f"needle at tokens {prompt.key[0]}..{prompt.key[1] - 1} of {len(prompt.ids)}, as {key}",
            f"  ... {' '.join(around.split())} ...",
            f"asked     {' '.join(prompt.text[prompt.answer_at - 200 : prompt.answer_at].split())}",
            f"expected  {prompt.number}",
            f"answer    {found.values['answer']}",
            *(f"{name:<16} {value}" for name, value in values.items()),
        ]
    )


def _surprises(trial: Trial, task: Loss) -> list[str]:
    document = trial.measurement.cell.document or 0
    source, ids = task.cut(trial.tokenizer, trial.measurement.cell.context_length)[document]
    losses = [float(x) for x in trial.measurement.rows["nll"] if x is not None]
    lines = [f"document {source!r}: {sum(losses) / len(losses):.4f} nats per token; the least expected tokens:"]
    for i in sorted(range(len(losses)), key=losses.__getitem__, reverse=True)[:10]:
        before, token = trial.tokenizer.decode(ids[max(0, i - 12) : i + 1]), trial.tokenizer.decode([ids[i + 1]])
        lines.append(f"{i + 1:>7}  {losses[i]:>6.2f}  ...{' '.join(before.split())[-50:]} >{token}<")
    return lines


def _task(identity: dict[str, Any], cell: Cell, texts: tuple[str, ...]) -> Task:
    cls = TASKS[identity["kind"]]
    names = {f.name for f in fields(cls)}
    grid: dict[str, Any] = {"lengths": (cell.context_length,), "texts": texts}
    if cell.trial is not None:
        grid |= {"depths": (cell.depth,), "trials": cell.trial + 1}
    if cell.document is not None:
        grid |= {"documents": cell.document + 1}
    stored = {k: tuple(v) if isinstance(v, list) else v for k, v in identity.items() if k in names and k != "texts"}
    return cls(**{**grid, **stored})


def _cell(text: str) -> Cell:
    try:
        parts = [part.split("=") for part in text.split(",")]
        coordinates: dict[str, Any] = {k: float(v) if k == "depth" else int(v) for k, v in parts}
        return Cell(**coordinates)
    except (ValueError, TypeError):
        raise UserError(f"a cell is written context_length=512,depth=0.5,trial=0; given {text!r}") from None


def _written(cell: Cell) -> str:
    return ",".join(f"{name}={value}" for name, value in cell.coordinates().items())
