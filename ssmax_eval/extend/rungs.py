"""What each rung measures, cheapest first, as ordinary tasks; and the plans that measure it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, unknown
from ssmax_eval.extend.candidates import Candidate
from ssmax_eval.report.statistics import FEWEST
from ssmax_eval.run.choosing import Say, choose
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.plan import Plan
from ssmax_eval.tasks import Task

FIRST, CHOOSING = 2, 4
"""Documents of the first rung, and of all rungs that choose. Finalists are judged on those that come after."""
TRIALS = 3
"""Trials of needles of the rungs that choose, likewise."""
BEST = 2
"""Candidates that are tried with logn and with calibrated SSMax."""
FINALISTS = 3


NEEDLE_TASKS = ("niah_dense", "niah")


class Decisive(NamedTuple):
    """The quantity that decides a rung."""

    name: str
    said: str
    better: int
    """1 where more is better, -1 where less is."""


LOSS = Decisive("nll", "loss at the far end", -1)
NEEDLES = Decisive("score", "needles found", 1)
CONTEXT = Decisive("loss_long", "loss of the last tokens with the whole context", -1)


@dataclass(frozen=True)
class Rung:
    """One step: what is measured of the candidates that are left, and how many go on."""

    title: str
    tasks: tuple[Task, ...]
    decisive: Decisive | None = None
    """None: nothing is dropped."""
    keep: int | None = None
    """Candidates that go on, besides the plain one; None: half, but `BEST` at least."""
    widens: bool = False
    """Whether the best are joined by themselves with logn and with calibrated SSMax before it."""

    def kept(self, count: int) -> int:
        """Return how many of `count` candidates go on where none tie."""
        if self.decisive is None:
            return count
        return min(count, max(BEST, -(-count // 2)) if self.keep is None else self.keep)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How far a checkpoint is to reach, and on what that is measured."""

    to: int
    """Tokens that it is to read."""
    trained: int
    """Tokens that it was trained on."""
    texts: tuple[str, ...] = ()
    """Text files or folders; without any, the built-in text."""
    documents: int = 12
    """Documents that finalists are measured on."""
    trials: int = 12
    """Trials of needles that finalists are measured on, at each length."""
    seed: int = 0
    needles: str = "niah_dense"
    """Task that hides the needles: this one, or `niah`, which is easier and takes longer."""
    words: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the needles' wording."""

    def __post_init__(self) -> None:
        if self.needles not in NEEDLE_TASKS:
            raise unknown("task with needles:", self.needles, NEEDLE_TASKS)
        least = {"documents": CHOOSING + FEWEST, "trials": TRIALS + FEWEST}
        for name, count in least.items():
            if getattr(self, name) < count:
                raise UserError(
                    f"{name} must be {count} or more, so that {FEWEST} that chose nothing give an interval; "
                    f"given {getattr(self, name)}"
                )

    @property
    def far(self) -> int:
        """The first position of the far end: the last quarter of the context, beyond the training length."""
        return max(self.trained, 3 * self.to // 4)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Context lengths of the finalists' needles: the training length, doubled until the last."""
        found, length = [], self.trained
        while length < self.to:
            found.append(length)
            length *= 2
        return (*found, self.to)

    def rungs(self) -> list[Rung]:
        """Return the rungs in order. The last one measures the finalists."""
        few = self._needles((self.to,), TRIALS)
        return [
            Rung("loss", (self._loss(FIRST),), LOSS),
            Rung("needles", (few,), NEEDLES),
            Rung("context", (self._context(CHOOSING),), CONTEXT, BEST),
            Rung("widened", (self._loss(CHOOSING), few), LOSS, FINALISTS, widens=True),
            Rung(
                "finalists",
                (
                    self._loss(self.documents),
                    self._needles(self.lengths, self.trials),
                    self._context(CHOOSING + FEWEST),
                ),
            ),
        ]

    def _loss(self, documents: int) -> Task:
        return self._task("loss", lengths=(self.to,), documents=documents)

    def _needles(self, lengths: tuple[int, ...], trials: int) -> Task:
        depths = (0.0, 0.25, 0.5, 0.75, 1.0)
        return self._task(self.needles, lengths=lengths, trials=trials, depths=depths, **self.words)

    def _context(self, documents: int) -> Task:
        part = max(1, min(128, self.to // 4))
        return self._task(
            "context_gain", lengths=(self.to,), document_tokens=self.to, documents=documents, near=part,
            target_tokens=part,
        )  # fmt: skip

    def _task(self, name: str, **changes: Any) -> Task:
        texts = {"texts": list(self.texts)} if self.texts else {}
        return choose([name], {**changes, "seed": self.seed, **texts})[0]


def plan_of(candidate: Candidate, checkpoint: Checkpoint, tasks: Sequence[Task], output: str, say: Say) -> Plan:
    """Return what is to be measured of a candidate; UserError where it cannot run on this checkpoint."""
    return prepare(
        candidate.on(checkpoint), candidate.attention, list(tasks), output, position=candidate.position, say=say
    )
