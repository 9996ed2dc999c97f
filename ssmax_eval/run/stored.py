"""Look into a result: the very prompt that a stored cell was measured with, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, harmless
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.settings import built, checked
from ssmax_eval.store import RUN_FILE, Store, read_runs, run_folders
from ssmax_eval.tasks import TASKS, Task
from ssmax_eval.user_code import load_class

DIFFERS = "the stored digest is not that of the prompt that this version of ssmax-eval and of the tokenizer makes"


@dataclass(frozen=True)
class StoredCell:
    """A stored cell with the task, and the tokenizer, that made it."""

    measurement: Measurement
    task: Task
    tokenizer: Any

    def prompt(self) -> str:
        """Return the exact text that the model was given, up to where its answer begins.

        UserError for a task without prompts, and where this version would make another prompt.
        """
        if self._prompt_differs:
            raise UserError(f"cannot make the prompt of {written(self.measurement.cell)} again: {DIFFERS}")
        return self.task.prompt(self.measurement.cell, self.tokenizer)

    def show(self) -> str:
        """Return what was asked, what came, and how it was scored; its values where that prompt cannot be made."""
        found = self.measurement
        head = f"{self.task.name}  {written(found.cell)}"
        if found.error is not None:
            shown = f"failed: {found.error}"
        elif self._prompt_differs:
            shown = f"the prompt cannot be shown: {DIFFERS}\n{Task.show(self.task, found, self.tokenizer)}"
        else:
            shown = self.task.show(found, self.tokenizer)
        return harmless(f"{head}\n{shown}")

    @property
    def _prompt_differs(self) -> bool:
        """Whether the prompt that would be made today has another digest than the one that was measured."""
        stored = self.measurement.values.get("prompt_digest")
        return bool(stored) and (self.task.prompt_digest(self.measurement.cell, self.tokenizer) or stored) != stored


def find(
    run: str, cell: str, checkpoint: str | None = None, texts: tuple[str, ...] = (), task: str | None = None
) -> StoredCell:
    """Return the cell ("context_length=512,depth=0.5,trial=0") of a run's folder, or of the one run that has it.

    The checkpoint, the texts and the class of a user's own task are those of the newest session, unless given anew;
    their digests must be those of the run. UserError where they are not, and for a cell that is not there.
    """
    wanted = _coordinates(cell)
    folder, measurement = _the_one(run, cell, wanted)
    record = read_runs(folder)[folder.name]
    given = _given(record)
    source = Checkpoint(checkpoint or given["checkpoint"])
    if source.fingerprint != _part(record, "checkpoint").get("fingerprint"):
        raise UserError(f"{source.name!r} is not the checkpoint that was measured; give it with --checkpoint")
    rebuilt = _task(_part(record, "task"), given, measurement.cell, texts, task)
    if source.tokenizer is None:
        raise UserError(f"{source.name!r} has no tokenizer")
    return StoredCell(measurement, rebuilt, source.tokenizer)


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a run's identity. UserError where it is not there."""
    part = record["identity"].get(name)
    if not isinstance(part, dict):
        raise UserError(f"cannot look into this run: its {RUN_FILE} does not say which {name} was measured")
    return part


def _the_one(run: str, cell: str, wanted: Mapping[str, str]) -> tuple[Path, Measurement]:
    """The one folder that has the one cell wanted. UserError with the choices where there are several."""
    folders = run_folders([run])
    there = {folder: Store(folder.parent).cells(folder.name) for folder in folders}
    found = [(folder, m) for folder, cells in there.items() for m in cells.values() if _fits(m.cell, wanted)]
    if len(found) == 1:
        return found[0]
    having = list(dict.fromkeys(folder.name for folder, _ in found))
    if len(having) > 1:
        raise UserError(f"{run!r} holds several runs with a cell {cell!r}; give one of them: {', '.join(having)}")
    if found:
        raise UserError(f"several cells of {having[0]!r} fit {cell!r}; one of them: {written(found[0][1].cell)}")
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders)
        raise UserError(f"{run!r} holds several runs, and none has a cell {cell!r}; give one of them: {names}")
    near = next(iter(there[folders[0]]), None)
    hint = f"a cell that it has: {written(near)}" if near else "it has none yet"
    raise UserError(f"{folders[0].name!r} has no cell {cell!r}; {hint}")


def _given(record: Mapping[str, Any]) -> dict[str, Any]:
    """Where the parts of a run came from, by the newest session that says so."""
    sessions = [line for line in record["sessions"] if line.get("kind", "session") == "session"]
    known = [line["given"] for line in sessions if _is_given(line.get("given"))]
    return {"checkpoint": record["columns"].get("checkpoint"), "texts": [], **(known[-1] if known else {})}


def _is_given(given: Any) -> bool:
    """Whether this is what `session.given` writes down."""
    return (
        isinstance(given, dict)
        and isinstance(given.get("checkpoint"), str)
        and isinstance(given.get("texts", []), list)
        and all(isinstance(text, str) for text in given.get("texts", []))
        and isinstance(given.get("grid", {}), dict)
        and isinstance(given.get("files", {}), dict)
        and isinstance(given.get("task", ""), str)
    )


def _task(
    identity: Mapping[str, Any], given: Mapping[str, Any], cell: Cell, texts: tuple[str, ...], place: str | None
) -> Task:
    """The task of a stored run. UserError where its texts, or its code, are not those that were measured."""
    kind = identity.get("kind")
    if not isinstance(kind, str):
        raise UserError(f"{RUN_FILE} of this run does not name its task; it cannot be looked into")
    if "code" not in identity and kind in TASKS:
        cls: Any = TASKS[kind]
    elif place or "task" in given:
        cls = load_class(place or given["task"], Task, "--task")
    else:
        raise UserError(f"nothing says where the class of task {kind!r} is; give it with --task file.py:Class")
    names = {f.name for f in fields(cls)}
    settings = {**given.get("grid", {}), **identity, **given.get("files", {}), "lengths": [cell.context_length]}
    settings["texts"] = texts or given["texts"]
    where = f"{RUN_FILE} of this run"
    task: Task = built(cls, checked(cls, {n: v for n, v in settings.items() if n in names}, where), where)
    now = task.identity()
    if now["texts"] != identity.get("texts"):
        raise UserError("the text is not the one that was measured; give it with --text")
    if changed := [name for name in task.places() if now[name] != identity.get(name)]:
        raise UserError(f"the content of {changed[0]} {task.places()[changed[0]]!r} is not what was measured")
    if now.get("code") != identity.get("code"):
        raise UserError(
            f"the code of task {kind!r} is not the one that was measured; give it with --task file.py:Class"
        )
    if now["version"] != identity.get("version", now["version"]):
        raise UserError(
            f"the run has version {identity['version']} of task {kind!r}, this is version {now['version']}; "
            "its prompts cannot be made again"
        )
    return task


def _coordinates(text: str) -> dict[str, str]:
    parts = [part.split("=") for part in text.split(",")]
    if any(len(part) != 2 or not all(part) for part in parts):
        raise UserError(f"a cell is written context_length=512,depth=0.5,trial=0; given {text!r}")
    return {name.strip(): value.strip() for name, value in parts}


def _fits(cell: Cell, wanted: Mapping[str, str]) -> bool:
    """Whether a cell has the coordinates wanted; it may have others besides."""
    coordinates = cell.coordinates()
    return all(name in coordinates and _same(coordinates[name], value) for name, value in wanted.items())


def _same(value: Any, text: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(text) == value
        except ValueError:
            return False
    return str(value) == text


def written(cell: Cell) -> str:
    """Return a cell as `--cell` takes it: `context_length=512,depth=0.5,trial=0`."""
    return ",".join(f"{name}={value}" for name, value in cell.coordinates().items())
