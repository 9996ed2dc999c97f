"""The page: the recommendation, the table, the figure, how it was decided, and the commands to go on with."""

import io
import shlex
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.extend.calibrated import slug
from ssmax_eval.extend.candidates import Candidate
from ssmax_eval.extend.extend import Outcome
from ssmax_eval.extend.figure import figure
from ssmax_eval.extend.rungs import CHOOSING, TRIALS
from ssmax_eval.extend.table import HEAD, Row, cells
from ssmax_eval.files import write_whole
from ssmax_eval.model import convert
from ssmax_eval.run.progress import duration

PAGE, FIGURE = "extend.md", "extend.png"


class Commands(NamedTuple):
    """What to type next."""

    run: str
    convert: str


def commands(outcome: Outcome, checkpoint: Checkpoint, output: str, folder: Path) -> Commands | None:
    """Return the commands that measure and convert what is recommended; None where nothing is."""
    if outcome.verdict.name is None:
        return None
    candidate = outcome.candidates[outcome.verdict.name]
    loading = _loading(checkpoint, candidate)
    changed = candidate.options()
    texts = [part for text in outcome.asked.texts for part in ("--text", text)]
    tasks = ["--task", f"loss,{outcome.asked.needles}", "--lengths", str(outcome.asked.to)]
    run = ["ssmax-eval", "run", checkpoint.name, *changed, *loading, *tasks, *texts, "-o", output]
    attention = [] if "--attention" in changed else ["--attention", "auto"]
    target = str(converted_folder(candidate, folder))
    written = ["ssmax-eval", "convert", checkpoint.name, *attention, *changed, *loading, "-o", target]
    return Commands(shlex.join(run), shlex.join(written))


def _loading(checkpoint: Checkpoint, candidate: Candidate) -> list[str]:
    """The options that the checkpoint itself was given, but for those that the candidate has."""
    own = {"name"} | ({"rope"} if candidate.rope else set())
    own |= {"rope_theta_scale"} if candidate.rope_theta_scale != 1.0 else set()
    found = []
    for one in fields(checkpoint):
        value = getattr(checkpoint, one.name)
        if one.name not in own and value != one.default:
            option = f"--{one.name.replace('_', '-')}"
            found += [option] if value is True else [option, str(value)]
    return found


def converted_folder(candidate: Candidate, folder: Path) -> Path:
    """Return where the recommended checkpoint is written."""
    return folder / f"converted-{slug(candidate)}"


def converted(outcome: Outcome, checkpoint: Checkpoint, folder: Path) -> str:
    """Write the checkpoint with what is recommended in its config; return the folder, or why it cannot be."""
    candidate = outcome.candidates[outcome.verdict.name or ""]
    target = converted_folder(candidate, folder)
    if (target / "config.json").exists():
        return f"{target} is there already."
    try:
        convert(candidate.on(checkpoint), candidate.attention, target, position=candidate.position)
    except UserError as error:
        return f"It cannot be converted: {error}"
    return f"{target} carries {candidate.name}."


def write_page(outcome: Outcome, found: Sequence[Row], told: Sequence[str], folder: Path) -> list[Path]:
    """Write the page and its figure into `folder`; `told` are lines of what comes after the recommendation."""
    image = io.BytesIO()
    figure(found, outcome.asked).savefig(image, format="png", metadata={"Software": None})
    return [
        write_whole(folder / PAGE, _page(outcome, found, told)),
        write_whole(folder / FIGURE, image.getvalue()),
    ]


def _page(outcome: Outcome, found: Sequence[Row], told: Sequence[str]) -> str:
    asked = outcome.asked
    lines = [f"# {outcome.label} at {asked.to:,} tokens", "", f"**{outcome.verdict.sentence}**", ""]
    lines += [*told, ""]
    lines += [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *(f"| {' | '.join(cells(row))} |" for row in found)]
    lines += ["", _read(outcome), "", f"![Gain against cost]({FIGURE})", ""]
    lines += [
        "Effective length and loss of each candidate against its time per token. Filled: finalists and the plain "
        "checkpoint; hollow: dropped before. Bars: 95 % intervals.",
        "", "## How it was decided", "",
    ]  # fmt: skip
    for number, step in enumerate(outcome.steps):
        rung = step.rung
        what = f"by {rung.decisive.said}" if rung.decisive else "measured properly"
        lines.append(f"{number + 1}. {rung.title}, {what}: {', '.join(step.kept) or 'none'} of {len(step.measured)}.")
        lines += [f"   - dropped: {name} ({why})" for name, why in step.dropped.items()]
    lines += [f"- left out: {name} ({why})" for name, why in outcome.left_out.items()]
    lines += ["", f"Measuring and fitting took {duration(outcome.seconds)}. The runs:", ""]
    return "\n".join([*lines, *(f"- `{folder}`" for folder in outcome.folders), ""])


def _read(outcome: Outcome) -> str:
    asked = outcome.asked
    return (
        f"Far end: positions {asked.far:,} to {asked.to - 1:,}. Losses are in nats per token; differences are against "
        "the plain checkpoint, paired, with 95 % intervals in brackets. Of finalists they are over the documents from "
        f"number {CHOOSING} and the trials from number {TRIALS} alone, which no rung chose by; of the others, over the "
        "few documents that dropped them. Effective length: needles found at 85.6 % or more up to there. Time per "
        "token: in multiples of the plain checkpoint's."
    )
