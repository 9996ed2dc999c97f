"""The driver: gives each free worker a batch, stores what comes back, and starts again what dies."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from ssmax_eval.attention import Attention, describe
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.run import estimate
from ssmax_eval.run.choosing import Say
from ssmax_eval.run.identity import Run
from ssmax_eval.run.measure import missing
from ssmax_eval.run.plan import Plan, counted, progress_of
from ssmax_eval.run.progress import Progress
from ssmax_eval.run.session import given
from ssmax_eval.run.stored import written
from ssmax_eval.run.workers import Ray
from ssmax_eval.run.workers.cluster import connected
from ssmax_eval.run.workers.crew import Crew, crew
from ssmax_eval.run.workers.own_code import pack
from ssmax_eval.run.workers.worker import Job, Worker, identity, versions
from ssmax_eval.run.workers.worklist import MOST_DEATHS, Batch, WorkList
from ssmax_eval.store import Writer

PATIENCE = 30.0
"""Seconds without any worker after which that is said."""


def measure_on_workers(
    plan: Plan,
    runs: Sequence[Run],
    asked: Ray,
    *,
    batch_size: int | None,
    prefill_chunk: int | None,
    say: Say,
    progress: bool,
) -> None:
    """Measure what is missing of some runs on a Ray cluster."""
    with connected(asked.address) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        chosen = crew(plan.checkpoint, asked, nodes)
        say(f"Loading {plan.checkpoint.label} in {chosen} ...")
        job = _job(ray, plan, runs, chosen, batch_size, prefill_chunk)
        with progress_of(plan, runs, say) if progress else nullcontext() as shown, ExitStack() as writers:
            Driver(ray, plan, runs, job, chosen, writers, shown.write if shown else say, shown).drive()


def _job(
    ray: Any, plan: Plan, runs: Sequence[Run], chosen: Crew, batch_size: int | None, prefill_chunk: int | None
) -> Job:
    """What the workers are told: the runs as they are planned here, without what was computed for this machine."""
    device, dtype = plan.checkpoint.device_and_dtype
    checkpoint = replace(
        plan.checkpoint, dtype=str(dtype).removeprefix("torch."), device="cpu" if not chosen.gpus else "cuda"
    )
    fresh = [Run(checkpoint, run.attention, replace(run.task)) for run in runs]
    return Job(
        runs=ray.cloudpickle.dumps(fresh),
        own=pack(type(part) for run in runs for part in (run.task, run.attention)),
        folder=os.getcwd(),
        versions=versions(),
        identities=[identity(run) for run in runs],
        lengths=sorted({cell.context_length for run in runs for cell in plan.todo[run]}),
        threads=chosen.threads,
        share=chosen.share,
        batch_size=batch_size,
        prefill_chunk=prefill_chunk,
    )


@dataclass
class Slot:
    """One of the workers, through all its lives."""

    number: int
    actor: Any = None
    """None where it is given up."""
    loaded: bool = False
    deaths: int = 0
    """In a row, while it was loading."""
    batch: Batch | None = None
    attention: Attention | None = None
    """What it runs, or ran last."""


class Driver:
    """The one process that decides and writes."""

    def __init__(
        self,
        ray: Any,
        plan: Plan,
        runs: Sequence[Run],
        job: Job,
        chosen: Crew,
        writers: ExitStack,
        say: Say,
        shown: Progress | None,
    ) -> None:
        self.ray, self.plan, self.runs, self.chosen, self.say, self.shown = ray, plan, runs, chosen, say, shown
        self.job = ray.put(job)
        needs = {"num_cpus": chosen.cpus, "num_gpus": chosen.gpus}
        # A worker that dies is started again here, not by Ray, so that one that dies while it loads is not forever.
        self.actor = ray.remote(Worker).options(**needs, max_restarts=0, max_task_retries=0)
        self.opening = writers
        self.writers: dict[int, Writer] = {}
        self.left = [set(plan.todo[run]) for run in runs]
        """Of each run, the cells that are neither measured nor given up."""
        self.failed = [0 for _ in runs]
        self.list: WorkList | None = None
        self.slots = [Slot(number) for number in range(1, chosen.workers + 1)]
        self.waiting: dict[Any, Slot] = {}
        """What a worker will answer, and the worker."""
        self.started, self.tokens = time.monotonic(), 0

    def drive(self) -> None:
        """Measure everything. UserError where no worker can be had, or the task cannot be measured."""
        for run, left in zip(self.runs, self.left, strict=True):
            self.say(f"{_title(run)}: {counted(len(left))} to measure")
        for slot in self.slots:
            self._start(slot)
        if self.shown is not None:
            self.shown.begin(f"on {self.chosen}")
        while any(self.left):
            ready, _ = self.ray.wait(list(self.waiting), num_returns=1, timeout=PATIENCE)
            if not ready and not any(slot.loaded for slot in self.slots):
                self.say("still waiting for a worker: the cluster is busy, or the checkpoint takes long to load")
            for answer in ready:
                self._hear(self.waiting.pop(answer), answer)
            for slot in self.slots:
                if slot.loaded and slot.batch is None:
                    self._give(slot)

    def _start(self, slot: Slot) -> None:
        slot.actor, slot.loaded, slot.attention = self.actor.remote(self.job), False, None
        self.waiting[slot.actor.load.remote()] = slot

    def _give(self, slot: Slot) -> None:
        """Give a free worker a batch, where there is any left."""
        assert self.list is not None
        busy = [one.attention for one in self.slots if one.batch is not None and one.attention is not None]
        if (batch := self.list.take(slot.attention, busy)) is not None:
            slot.batch, slot.attention = batch, self.runs[batch.run].attention
            streaming = slot.actor.measure.options(num_returns="streaming")
            self.waiting[streaming.remote(batch.run, batch.cells, batch.size, batch.careful)] = slot

    def _hear(self, slot: Slot, answer: Any) -> None:
        """Take one answer of a worker: that it has loaded, a measurement, a record, its batch's end, or its death."""
        errors = self.ray.exceptions
        try:
            found = self.ray.get(answer if slot.batch is None else next(answer))
        except StopIteration:
            slot.batch = None
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise
        except errors.RayError:
            self._bury(slot)
        else:
            if slot.batch is None:
                slot.loaded, slot.deaths = True, 0
                if self.list is None:
                    work = {n: estimate.work(self.plan.checkpoint, n) for n in found}
                    self.list = WorkList(self.runs, self.plan.todo, found, work.__getitem__)
                return
            self.waiting[answer] = slot
            if isinstance(found, Measurement):
                self._store(slot.batch.run, found)
            else:
                self._record(slot.batch.run, found)

    def _bury(self, slot: Slot) -> None:
        """Start a worker again that has died, and put back what it was measuring."""
        with suppress(Exception):  # it is gone, as it should be
            self.ray.kill(slot.actor, no_restart=True)
        if slot.batch is None:
            slot.deaths += 1
            if slot.deaths == MOST_DEATHS:
                return self._give_up(slot)
            self.say(f"worker {slot.number} died while it loaded the checkpoint; it is started again")
        else:
            assert self.list is not None
            run, cells = slot.batch.run, [cell for cell in slot.batch.cells if cell in self.left[slot.batch.run]]
            self.say(f"worker {slot.number} died at {_title(self.runs[run])}, {_these(cells)}; it is started again")
            for cell in self.list.died(slot.batch, cells):
                self.say(f"{_title(self.runs[run])}: {written(cell)} is given up; {MOST_DEATHS} workers died of it")
                error = f"{MOST_DEATHS} workers died while they measured it: too little memory, most likely"
                self._record(run, {"kind": "session"})
                self._store(run, Measurement(cell, error=error))
            slot.batch = None
        self._start(slot)

    def _give_up(self, slot: Slot) -> None:
        slot.actor, slot.loaded = None, False
        self.say(f"worker {slot.number} is given up: it died {MOST_DEATHS} times while it loaded the checkpoint")
        if all(one.actor is None for one in self.slots):
            raise UserError(
                "every worker died while it loaded the checkpoint: too little memory, most likely; give fewer --workers"
            )

    def _record(self, run: int, entry: Mapping[str, Any]) -> None:
        """Write down what a worker says of itself; its first word on a run opens that run for writing."""
        if entry["kind"] != "session":
            self.writers[run].record(entry)
        elif run not in self.writers:
            one = self.runs[run]
            about = {**entry, **given_here(one), "workers": self.chosen.workers}
            self.writers[run] = self.opening.enter_context(self.plan.store.writer(one.name, one.description, about))
            there = self.writers[run].cells
            still = missing(sorted(self.left[run], key=str), there, retry_failed=self.plan.retry_failed)
            self._done(run, self.left[run] - set(still))  # another process has measured them in the meantime

    def _store(self, run: int, found: Measurement) -> None:
        if found.cell not in self.left[run]:
            return
        self.writers[run].append(found)
        self.failed[run] += found.error is not None
        self.tokens += found.cell.context_length
        if self.shown is not None:
            rate = self.tokens / (time.monotonic() - self.started)
            self.shown.begin(f"on {self.chosen}, {rate:,.0f} tokens a second")
        self._done(run, {found.cell})

    def _done(self, run: int, cells: set[Cell]) -> None:
        self.left[run] -= cells
        if self.shown is not None and cells:
            self.shown.finished(list(cells))
        if not self.left[run] and self.failed[run]:
            failed = counted(self.failed[run])
            self.say(f"{_title(self.runs[run])}: {failed} failed; the report marks them, --retry-failed tries again")


def given_here(run: Run) -> dict[str, Any]:
    """Return what a session's record says of the driver, not of the worker that has begun it."""
    import sys

    return {"command": ["ssmax-eval", *sys.argv[1:]], "given": given(run)}


def _title(run: Run) -> str:
    return f"{run.task.name} | {describe(run.attention)}"


def _these(cells: Sequence[Cell]) -> str:
    return written(cells[0]) if len(cells) == 1 else counted(len(cells))
