"""The whole evaluation: rung after rung, until the finalists are measured or the budget ends."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.extend.budget import Budget
from ssmax_eval.extend.calibrated import Way, calibrated, table_of
from ssmax_eval.extend.candidates import PLAIN, Candidate, distinct, with_logn
from ssmax_eval.extend.halving import halve
from ssmax_eval.extend.rungs import BEST, Asked, Rung, plan_of
from ssmax_eval.extend.values import Values, values
from ssmax_eval.extend.verdict import Verdict, verdict
from ssmax_eval.run.choosing import Say
from ssmax_eval.run.plan import Plan, execute
from ssmax_eval.run.progress import duration


class Step(NamedTuple):
    """What came of a rung."""

    rung: Rung
    measured: list[str]
    kept: list[str]
    dropped: dict[str, str]
    found: Values


@dataclass(frozen=True)
class Outcome:
    """What came of an evaluation."""

    asked: Asked
    label: str
    """What the checkpoint is called."""
    candidates: dict[str, Candidate]
    """All that were tried, by name."""
    steps: list[Step]
    left_out: dict[str, str]
    """What could not be tried, and why."""
    verdict: Verdict
    seconds: float
    """Time of measuring and fitting, by the store."""
    folders: list[str] = field(default_factory=list)
    """Runs."""


@dataclass
class Extension:
    """One evaluation. What goes on after a rung follows from the stored cells alone."""

    checkpoint: Checkpoint
    asked: Asked
    output: str
    """Folder of runs."""
    folder: Path
    """Folder for tables of s and b."""
    calibration: Way
    budget: Budget
    say: Say
    progress: bool = True
    left_out: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    """The last plan of each candidate."""

    def run(self, tried: Sequence[Candidate]) -> Outcome:
        """Measure what is missing, rung by rung. UserError where the plain checkpoint cannot be measured."""
        known = {one.name: one for one in distinct(tried)}
        alive, steps, stopped = [name for name in known if name != PLAIN], list[Step](), ""
        for number, rung in enumerate(self.asked.rungs()):
            self.say(f"Rung {number + 1}, {rung.title}: {len(alive)} candidates and the plain checkpoint")
            if rung.widens:
                if not self._reaches_tables([known[name] for name in alive], rung):
                    stopped = rung.title
                    break
                known |= (joined := self._widened([known[name] for name in alive]))
                alive += [name for name in joined if name not in alive]
            plans = self._plans(rung, [known[PLAIN], *(known[name] for name in alive)])
            changed = [plan for name, plan in plans.items() if name != PLAIN]
            if not (self.budget.began(changed) or self.budget.reaches(plans.values())):
                stopped = rung.title
                break
            self._measure(plans)
            alive = [name for name in alive if name in plans]
            self.budget.add(plans.values())
            found = values(plans, self.asked)
            kept, dropped = alive, dict[str, str]()
            if rung.decisive is not None and alive:
                where = found.far if rung.decisive.name == "nll" else found
                kept, dropped = halve(where, alive, rung.kept(len(alive)), rung.decisive)
            steps.append(Step(rung, alive, kept, dropped, found))
            for name, why in dropped.items():
                self.say(f"  dropped: {name} ({why})")
            alive = list(kept)
        if not steps:
            raise UserError(
                f"a budget of {duration(self.budget.seconds or 0)} does not reach the first rung, which takes about "
                f"{duration(self.budget.cost(plans.values()))}; give a larger --budget, or fewer candidates"
            )
        return Outcome(
            self.asked, self.checkpoint.label, known, steps, self.left_out, self._verdict(steps, alive, stopped),
            self.budget.spent,
            sorted({folder for plan in self.plans.values() for folder in plan.folders if Path(folder).is_dir()}),
        )  # fmt: skip

    def _verdict(self, steps: Sequence[Step], alive: Sequence[str], stopped: str) -> Verdict:
        label, asked = self.checkpoint.label, self.asked
        if not stopped:
            return verdict(steps[-1].found, alive, label)
        ahead = f"Ahead so far: {', '.join(alive)}." if alive else "No candidate is left."
        return Verdict(
            None,
            f"For {label} to read {asked.to:,} tokens, nothing is recommended: the budget of "
            f"{duration(self.budget.seconds or 0)} ends before the rung {stopped!r}, and the finalists are not "
            f"measured. {ahead}",
            [],
        )

    def _plans(self, rung: Rung, chosen: Sequence[Candidate]) -> dict[str, Plan]:
        """Return the plans of a rung by candidate, without those that cannot run."""
        found = {}
        for candidate in chosen:
            try:
                found[candidate.name] = plan_of(candidate, self.checkpoint, rung.tasks, self.output, lambda _: None)
            except UserError as error:
                self._leave_out(candidate.name, error)
        self.plans |= found
        return found

    def _measure(self, plans: dict[str, Plan]) -> None:
        """Measure what is missing, the plain checkpoint first; a candidate that cannot run is taken out of `plans`."""
        for name, plan in list(plans.items()):
            if not any(plan.todo.values()):
                continue
            self.say(f"  {name}")
            try:
                execute(plan, say=lambda _: None, progress=self.progress)
            except UserError as error:
                self._leave_out(name, error)
                del plans[name]

    def _leave_out(self, name: str, error: UserError) -> None:
        if name == PLAIN:
            raise error
        self.left_out[name] = str(error)
        self.say(f"  left out: {name} ({error})")

    def _reaches_tables(self, alive: Sequence[Candidate], rung: Rung) -> bool:
        """Return whether the budget is enough for the tables and for the rung that follows them."""
        missing = [one for one in alive[:BEST] if one.attention == "auto"]
        begun = any(table_of(one, self.folder).exists() for one in missing)
        joined = [one for one in map(with_logn, missing) if one is not None]
        plans = [*self._plans(rung, [Candidate(), *alive, *joined]).values()]
        plans += self._plans(rung, joined).values() if self.calibration.documents else []  # as many with SSMax
        passes = self.calibration.passes * len(missing)
        return begun or self.budget.reaches(plans, passes, self.asked.to)

    def _widened(self, alive: Sequence[Candidate]) -> dict[str, Candidate]:
        """Return the best with logn, and with calibrated SSMax."""
        found = [one for one in map(with_logn, alive[:BEST]) if one is not None]
        for candidate in alive[:BEST] if self.calibration.documents else []:
            if candidate.attention != "auto":
                continue
            try:
                found.append(
                    calibrated(candidate, self.checkpoint, self.asked, self.calibration, self.folder, self.say)
                )
                self.budget.add_table(table_of(candidate, self.folder))
            except UserError as error:
                self._leave_out(f"calibrated ssmax + {candidate.name}", error)
        return {one.name: one for one in found}
