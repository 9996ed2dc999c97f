"""The page: what was trained, what the papers claim, what was measured, and how to do it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from study.captions import CAPTIONS, FIRST
from study.claims import Claims, Margins
from study.families import is_aside, label, listed, ordered
from study.measures import Evidence
from study.outcomes import Outcome, expected_false, looked_into, markdown, outcome, tally
from study.trained import Trained
from study.verdicts import FEWEST

LAST = 10
"""Logged steps that the end of a training is averaged over."""


def page(evidence: Evidence, claims: Claims, drawn: Sequence[str]) -> str:
    """The page as Markdown; `drawn` names the figures that there are."""
    found = [outcome(claim, evidence) for claim in claims.claims]
    closer = looked_into(found, evidence)
    parts = [
        "# Reference checkpoints: do the papers' claims hold?",
        _trained(evidence),
        f"**Verdicts on {len(found)} claims, {tally(found)}.** {expected_false(found)}",
        _limits(evidence),
        *([_picture(FIRST)] if FIRST in drawn else []),
        "## The claims",
        _rules(claims.margins),
        *(part for paper in claims.papers for part in _of_paper(paper, found)),
        *(["### A closer look at what does not hold", _closer(), markdown(closer)] if closer else []),
        "## Figures",
        *(_picture(name) for name in drawn if name != FIRST),
        "## What was trained",
        _trainings(evidence.trained),
        "## Do it again",
        _again(),
    ]
    return "\n\n".join(parts) + "\n"


def _trained(evidence: Evidence) -> str:
    """How many models of which shape were trained, on what, for how long, and what they were measured on."""
    trained = _main(evidence)
    record = trained[0].record
    recipe = record["recipe"]
    minutes = [t.record["seconds"] / 60 for t in trained if not t.record["from"]]
    time = f"about {sum(minutes) / len(minutes):.0f} minutes" if minutes else "minutes"
    others = len(evidence.trained) - len(trained)
    read = {text for t in trained for text in t.record["texts"]}
    tested = sorted(set(evidence.rows["source"].dropna().astype("str"))) if "source" in evidence.rows else []
    unseen = ", which no training had read" if tested and not read & set(tested) else ""
    return (
        f"{_many(len(trained), 'small Llama')} in {_many(len({t.family for t in trained}), 'variant')} were trained. "
        f"They differ in attention only ({recipe['layers']} layers, {recipe['heads']} heads, width {recipe['width']}, "
        f"{record['parameters']:,} weights). The training sequences have {recipe['train_length']} tokens: text, "
        f"numbers hidden in text, and tables to look up in. A whole training is {recipe['steps']:,} steps, {time} on "
        f"{record.get('device', 'cpu')} with {_many(record['threads'], 'thread')}. "
        + (f"{others} more were trained in another way, to look into what does not hold. " if others else "")
        + "The models were evaluated far beyond the training length. "
        f"Their loss was measured on {' and '.join(tested) or 'no text yet'}{unseen}."
    )


def _limits(evidence: Evidence) -> str:
    """How far the verdicts reach."""
    trained = _main(evidence)
    right = [t.curve["right"].tail(LAST).mean() for t in trained if "right" in t.curve]
    choosing = (
        f"Training asks for one of up to {trained[0].record['recipe']['needles']} numbers, and at its end "
        f"{100 * min(right):.0f} to {100 * max(right):.0f} % of the answer's tokens are right: the models find a "
        "number, and hardly tell several apart. The needle test hides one number. "
        if right
        else ""
    )
    return (
        "This shows little about large models. These are hundreds of times smaller than the papers', they were "
        "trained on much shorter sequences and on a mix made for retrieval, and they know one kind of text. "
        f"{choosing}A claim that holds here holds in miniature. A claim that does not hold here may hold at the "
        "papers' size. A row of one seed says nothing about other seeds."
    )


def _rules(margins: Margins) -> str:
    """How a verdict comes about."""
    return (
        "Each claim asks for a range of one difference, named in brackets: nats per token, percentage points of "
        "needles, or attention weight.\n\n"
        "**Verdict.** A claim *holds* if the whole 95 % interval lies within the range. It *does not hold* if the "
        "whole interval lies outside. Otherwise the result is *inconclusive*. Where runs are missing, the claim is "
        "*not measured*. A claim that one finds what the other does not asks for more: the interval of the one must "
        f"lie above {100 * margins.half:.0f} % of the needles, and that of the other below.\n\n"
        "**Interval.** The two sides are always compared on the same seeds, documents and prompts. Where a claim has "
        "several seeds, the interval is over the seeds, or over the units below if that is wider. On one seed it "
        "is over trials with all their depths, which share a haystack; over texts, since the windows of a novel are "
        "alike; or over logged steps, which follow each other and say nothing about another training. Fewer than "
        f"{FEWEST} seeds or units have no interval, and the claim is inconclusive. "
        "[How often the intervals hold the truth](../docs/intervals.md).\n\n"
        f"**Texts.** Fewer than {FEWEST} texts have no interval of their own, and the row says how few there are. Its "
        "verdict then rests on the seeds alone: it speaks for other trainings, on these texts, and says nothing about "
        "other texts.\n\n"
        f'**Margins.** "About the same" is within {margins.alike} nats at the training length, or within '
        f'{100 * margins.as_many:.0f} points of needles. "Nearly flat" is a rise of less than {margins.flat} nats. '
        "This is our choice, since the papers give no margin. The training loss is that on text over the last tenth "
        "of the steps.\n\n"
        "**Best head.** The best head of a trial is chosen on the other trials, so that luck is not rewarded. Where "
        "heads are nearly equal, this is a little below what the best one reaches."
    )


def _of_paper(paper: str, found: Sequence[Outcome]) -> list[str]:
    return [f"### {paper}", markdown([one for one in found if one.claim.paper == paper])]


def _closer() -> str:
    """What the second table of claims is."""
    ways = "; ".join(study.label for study in listed().studies.values())
    return (
        "Where a claim does not hold, this table looks at single positions, or at the same families trained in another "
        f"way: {ways}. Text only means that, like the papers' models, they were trained on text and not on a mix made "
        "for retrieval. SSMax's factor s log n is 0 for the first token and small for the next few. These are a larger "
        "part of a short sequence than of the paper's 1 024 tokens."
    )


def _picture(name: str) -> str:
    return f"![{CAPTIONS[name]}](figures/{name}.png)\n\n*{CAPTIONS[name]}*"


def _trainings(trained: Sequence[Trained]) -> str:
    """A Markdown table of the trainings, a row for each family."""
    lines = ["| variant | attention | seeds | steps | minutes each | loss on text at the end | answer tokens right |"]
    lines.append("|---|---|---|---|---|---|---|")
    for family in ordered(t.family for t in trained):
        mine = [t for t in trained if t.family == family]
        steps = mine[0].record["recipe"]["steps"] - mine[0].record["recipe"]["start_step"]
        minutes = sum(t.record["seconds"] for t in mine) / len(mine) / 60
        text, right = _at_the_end(mine, "loss_text"), _at_the_end(mine, "right")
        lines.append(
            f"| {label(family)} | {mine[0].record['attention']} | {', '.join(str(t.seed) for t in mine)} | {steps:,} | "
            f"{minutes:.1f} | {text:.3f} | {'–' if pd.isna(right) else f'{right:.0%}'} |"
        )
    return "\n".join(lines)


def _at_the_end(trained: Iterable[Trained], column: str) -> float:
    """Mean over the trainings of a column's last logged steps; NaN where none has the column."""
    return float(
        pd.Series([t.curve[column].tail(LAST).mean() for t in trained if column in t.curve], dtype="float64").mean()
    )


def _again() -> str:
    return (
        "```sh\n"
        "study/train.sh    # trains the checkpoints\n"
        "study/measure.sh  # measures them, and writes this page\n"
        "make study        # writes this page again, from the stored runs and trainings\n"
        "```\n\n"
        "Both scripts say what they need. How to add a claim: [study/README.md](../study/README.md)."
    )


def _main(evidence: Evidence) -> list[Trained]:
    """The trainings without those that serve one question; all, where there are no others."""
    return [t for t in evidence.trained if not is_aside(t.family)] or list(evidence.trained)


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"
