"""The page of the reference checkpoints: what was trained, what the papers claim of it, and what came out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from ssmax_eval.errors import UserError
from ssmax_eval.files import write_whole
from ssmax_eval.report.writing import render
from ssmax_eval.store import read_results, read_runs
from study import figures, training_figures
from study.commands import Commands
from study.families import PLAIN, RAISED, aside, label, of_families, ordered
from study.measures import Evidence
from study.rules import ABSENT, FAILS, HOLDS, OPEN, SEEDS
from study.table import ALIKE, FEWER, FLAT, Outcome, looked_into, markdown, outcomes
from study.trained import Trained, read_trained

INCHES, DOTS = 8.0, 200
"""Width of every figure and dots per inch of its PNG: 1600 px."""
FIRST = "overview"
CAPTIONS = {
    "overview": "RoPE base × 50. Above: share of needles found by context length and depth, on one scale. Below: loss "
    "by position of long texts. Both with all seeds pooled; the band is the 95 % interval over documents and seeds.",
    "overview-plain-rope": "The same with plain RoPE, as the checkpoints were trained.",
    "loss-by-length": "Mean loss over the first tokens of long texts, every variant; 95 % interval over documents and "
    "seeds.",
    "retrieval-by-length": "Share of needles found, all depths pooled, every variant; Wilson's 95 % interval over "
    "trials and seeds.",
    "needle-by-head": "Weight that each head puts on the needle's digits where the answer begins, best head first, at "
    "8 × the training length and RoPE base × 50; heads are ranked within each seed. After Fig. 7 of the SSMax paper.",
    "needle-by-outcome": "Weight of the best head on the needle's digits in each trial, and whether the answer was "
    "right; RoPE base × 50. After Fig. 8 of the SSMax paper.",
    "learned-factors": "The factor s log n + b that SSMax learned for every head, against the number of keys n. "
    "Dashed: log n / mean(log n), which a softmax model gets when it is rewritten. Dotted: 1, softmax.",
    "free-factors": "The factor on the scores that training settled on for every number of keys n by itself, and the "
    "line a₁ log n + a₂ that comes nearest to it, after training on text alone: SSMax was found from this experiment.",
    "training": "Trainings by step, each averaged over ten logged steps; mean over the seeds, and a band from the "
    "lowest seed to the highest. Middle: in the training mix, which is harder than the needle "
    "test. Right: SSMax minus softmax on the same batches.",
}
"""What each figure shows, by file name, in the page's order."""


def write_claims(
    store: str | os.PathLike[str], checkpoints: str | os.PathLike[str], output: str | os.PathLike[str]
) -> list[Path]:
    """Write README.md and figures/*.png and *.pdf into `output`; return the files, the page first.

    `store` is a folder of runs of the trained checkpoints in the folder `checkpoints`. Claims without runs are
    called "not measured", figures without runs are left out. UserError when there are no runs or no checkpoints.
    """
    folder, trained = Path(output), read_trained(checkpoints)
    evidence = Evidence(of_families(read_results(store), trained), trained, read_runs(store))
    drawn: dict[str, Figure] = {}
    files: dict[str, bytes] = {}
    with matplotlib.style.context("ssmax_eval.report.styles.double"):
        matplotlib.rcParams.update({"figure.figsize": (INCHES, INCHES / 2), "savefig.dpi": DOTS})
        for name, draw in _drawings(evidence).items():
            try:
                drawn[name] = draw()
            except UserError:
                continue
            for kind in ("png", "pdf"):
                files[f"figures/{name}.{kind}"] = render(drawn[name], kind)
    again = f"ssmax-eval claims {_shown(store)} --checkpoints {_shown(checkpoints)} -o {_shown(output)}"
    files = {"README.md": page(evidence, list(drawn), again).encode(), **files}
    return [write_whole(folder / name, content) for name, content in files.items()]


def _drawings(evidence: Evidence) -> dict[str, Callable[[], Figure]]:
    rows = evidence.rows[~evidence.rows["family"].astype("str").map(aside)]
    trained = [t for t in evidence.trained if not aside(t.family)]
    return {
        "overview": partial(figures.overview, rows, RAISED),
        "overview-plain-rope": partial(figures.overview, rows, PLAIN),
        "loss-by-length": partial(figures.loss_by_length, rows),
        "retrieval-by-length": partial(figures.retrieval_by_length, rows),
        "needle-by-head": partial(figures.needle_by_head, rows),
        "needle-by-outcome": partial(figures.needle_by_outcome, rows),
        "learned-factors": partial(training_figures.learned_factors, trained),
        "free-factors": partial(training_figures.free_factors, evidence.trained),
        "training": partial(training_figures.training_curves, trained),
    }


def page(evidence: Evidence, drawn: Sequence[str], again: str) -> str:
    """The page as Markdown; `drawn` are the figures there are, `again` the command that made it."""
    commands = Commands()
    found = outcomes(evidence, commands)
    again_failed = looked_into(found, evidence, commands)
    trainings = commands.numbers(t.record["command"] for t in evidence.trained)
    parts = [
        "# Reference checkpoints: do the papers' claims hold?",
        _about(evidence, found),
        _picture(FIRST) if FIRST in drawn else "",
        "## The claims",
        _rules(),
        markdown(found),
        *([_LOOKED_INTO, markdown(again_failed)] if again_failed else []),
        "## Figures",
        *(_picture(name) for name in drawn if name != FIRST),
        "## What was trained",
        _trainings(evidence.trained),
        "## Again",
        "This page and its figures, from the runs and the checkpoints' records:",
        f"```sh\n{again}\n```",
        "The checkpoints themselves, from nothing:",
        "```sh\nrecipes/family.sh  # trains them\nresults/reference.sh  # measures them, and writes this page\n```",
        "## Commands",
        f"As they were typed. Trainings: {', '.join(map(str, trainings))}.",
        commands.markdown(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_LOOKED_INTO = (
    "Where a claim does not hold, a closer look: by position, or the same on models trained in another way: three "
    "times the steps; on text alone, as the papers' models were, instead of a mix made for retrieval; on text alone "
    "in sequences of 512 tokens. SSMax's factor s log n is 0 for the first token and small for the next few, which are "
    "a larger part of a short sequence than of the paper's 1 024 tokens."
)


def _about(evidence: Evidence, found: Sequence[Outcome]) -> str:
    """What was trained, how, how long; how many claims hold; and how far that reaches."""
    trained = [t for t in evidence.trained if not aside(t.family)] or evidence.trained
    record = trained[0].record
    recipe = record["recipe"]
    minutes = sorted(t.record["seconds"] / 60 for t in trained if not t.record["from"])
    families = ordered(t.family for t in trained)
    counts = Counter(outcome.verdict for outcome in found)
    said = ", ".join(f"{verdict} {counts[verdict]}" for verdict in (HOLDS, FAILS, OPEN, ABSENT) if counts[verdict])
    time = f"about {sum(minutes) / len(minutes):.0f} minutes" if minutes else "minutes"
    read = {text for t in trained for text in t.record["texts"]}
    tested = sorted(set(evidence.rows["source"].dropna().astype("str"))) if "source" in evidence.rows else []
    right = [t.curve["right"].tail(10).mean() for t in trained if "right" in t.curve]
    choosing = (
        f"Asked in training for one of up to {recipe['needles']} numbers, they end with {100 * min(right):.0f} to "
        f"{100 * max(right):.0f} % of the answer's tokens right: they find a number, and hardly tell several apart. "
        "The needle test hides one. "
        if right
        else ""
    )
    kept_out = ", which no training had" if tested and not read & set(tested) else ""
    others = len(evidence.trained) - len(trained)
    aside_from = f" ({others} more were trained in another way, to look into what does not hold)" if others else ""
    return (
        f"{_many(len(trained), 'small Llama')} in {_many(len(families), 'variant')}, which differ in attention only "
        f"({recipe['layers']} layers, {recipe['heads']} heads, width {recipe['width']}, "
        f"{record['parameters']:,} weights), were trained on sequences of {recipe['train_length']} tokens: text, "
        f"numbers hidden in it, and tables to look up in. A whole training is {recipe['steps']:,} steps, {time} on "
        f"{record.get('device', 'cpu')} with {_many(record['threads'], 'thread')}{aside_from}. They were "
        f"evaluated far beyond that length; the loss on {', '.join(tested) or 'no text yet'}{kept_out}.\n\n"
        f"**Verdicts on {len(found)} claims: {said}.**\n\n"
        "What this can show is limited. The models are hundreds of times smaller than the papers', are trained on "
        f"much shorter sequences and a mix made for retrieval, and know one kind of text. {choosing}A claim "
        "that holds here holds in miniature; one that does not may hold at the papers' size. Rows of one "
        "seed say nothing about other seeds."
    )


def _rules() -> str:
    return (
        "Each claim asks for a range of one difference, named in brackets: nats per token, or percentage points of "
        "needles, or attention weight. **Verdict:** *holds* if the whole 95 % interval lies within the range, *does "
        "not hold* if it lies outside, else *not told apart*; *not measured* where runs are missing. **Interval:** "
        "always on the same seeds, documents and prompts. It is Student's over documents, trials or logged steps (a "
        "bootstrap from ten on; Bonett and Price's for pairs of found and missed); where there are "
        f'{SEEDS} seeds or more, Student\'s over seeds if that is wider. "About the same" is within {ALIKE} nats at '
        f'the training length or {100 * FEWER:.0f} points of needles, "nearly flat" a rise of less than {FLAT} nats: '
        "our choice, since the papers give no margin. The training loss is that on text over the last tenth of the "
        "steps. Intervals are not corrected for the number of claims."
    )


def _picture(name: str) -> str:
    return f"![{CAPTIONS[name]}](figures/{name}.png)\n\n*{CAPTIONS[name]}*"


def _trainings(trained: Sequence[Trained]) -> str:
    lines = ["| variant | attention | seeds | steps | minutes each | loss on text at the end | answer tokens right |"]
    lines.append("|---|---|---|---|---|---|---|")
    for family in ordered(t.family for t in trained):
        mine = [t for t in trained if t.family == family]
        steps = mine[0].record["recipe"]["steps"] - mine[0].record["recipe"]["start_step"]
        minutes = sum(t.record["seconds"] for t in mine) / len(mine) / 60
        text, right = (
            pd.Series([t.curve[column].tail(10).mean() for t in mine if column in t.curve], dtype="float64").mean()
            for column in ("loss_text", "right")
        )
        lines.append(
            f"| {label(family)} | {mine[0].record['attention']} | {', '.join(str(t.seed) for t in mine)} | {steps:,} | "
            f"{minutes:.1f} | {text:.3f} | {'–' if pd.isna(right) else f'{right:.0%}'} |"
        )
    return "\n".join(lines)


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _shown(path: str | os.PathLike[str]) -> str:
    """A path as the page shows it: as given, unless it is of one machine only."""
    return Path(path).name if Path(path).is_absolute() else str(path)
