"""The driver: gives each free worker a batch, takes what comes back, and starts again what dies."""

import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.run import estimate
from ssmax_eval.run.choosing import Say
from ssmax_eval.run.identity import Run, Under
from ssmax_eval.run.plan import Plan, counted, progress_of
from ssmax_eval.run.stored import written
from ssmax_eval.run.workers import Ray
from ssmax_eval.run.workers.cluster import connected
from ssmax_eval.run.workers.crew import Crew, crew
from ssmax_eval.run.workers.own_code import pack
from ssmax_eval.run.workers.results import Results, title
from ssmax_eval.run.workers.worker import Job, Worker, identity, versions
from ssmax_eval.run.workers.worklist import MOST_DEATHS, Batch, WorkList

PATIENCE = 30.0
"""Seconds without any worker after which that is said."""
REASON = 40
"""Words, the last ones, of what Ray says of a death."""


def measure_on_workers(
    plan: Plan,
    runs: Sequence[Run],
    asked: Ray,
    *,
    batch_size: int | None,
    prefill_chunk: int | None,
    offload_cache: str,
    say: Say,
    progress: bool,
) -> None:
    """Measure what is missing of some runs on a Ray cluster."""
    with connected(asked.address) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        chosen = crew(plan.checkpoint, asked, nodes)
        say(f"Loading {plan.checkpoint.label} in {chosen} ...")
        job = _job(ray, plan, runs, chosen, batch_size, prefill_chunk, offload_cache)
        with (
            progress_of(plan, runs, say) if progress else nullcontext() as shown,
            Results(plan, runs, chosen, shown.write if shown else say, shown) as results,
        ):
            Driver(ray, job, chosen, results).drive()


def _job(
    ray: Any,
    plan: Plan,
    runs: Sequence[Run],
    chosen: Crew,
    batch_size: int | None,
    prefill_chunk: int | None,
    offload_cache: str,
) -> Job:
    """What the workers are told: the runs as they are planned here, without what was computed for this machine."""
    dtype = str(plan.checkpoint.device_and_dtype.dtype).removeprefix("torch.")
    checkpoint = replace(plan.checkpoint, dtype=dtype, device="cuda" if chosen.gpus else "cpu")
    fresh = [Run(checkpoint, run.attention, replace(run.task), run.position) for run in runs]
    return Job(
        runs=ray.cloudpickle.dumps(fresh),
        own=pack(type(part) for run in runs for part in (run.task, *run.under) if part is not None),
        folder=os.getcwd(),
        versions=versions(),
        identities=[identity(run) for run in runs],
        lengths=sorted({cell.context_length for run in runs for cell in plan.todo[run]}),
        threads=chosen.threads,
        share=chosen.share,
        batch_size=batch_size,
        prefill_chunk=prefill_chunk,
        offload_cache=offload_cache,
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
    under: Under | None = None
    """What it runs, or ran last."""


class Driver:
    """The one process that decides."""

    def __init__(self, ray: Any, job: Job, chosen: Crew, results: Results) -> None:
        self.ray, self.results = ray, results
        self.runs, self.plan, self.say = results.runs, results.plan, results.say
        self.job = ray.put(job)
        # A worker that dies is started again here, not by Ray, so that one that dies while it loads is not forever.
        self.actor = ray.remote(Worker).options(
            num_cpus=chosen.cpus, num_gpus=chosen.gpus, max_restarts=0, max_task_retries=0
        )
        self.list: WorkList | None = None
        """Made when the first worker says how many cells it measures together."""
        self.slots = [Slot(number) for number in range(1, chosen.workers + 1)]
        self.waiting: dict[Any, Slot] = {}
        """What a worker will answer, and the worker."""

    def drive(self) -> None:
        """Measure everything. UserError where no worker can be had, or a task cannot be measured."""
        for slot in self.slots:
            self._start(slot)
        while any(self.results.left):
            ready, _ = self.ray.wait(list(self.waiting), num_returns=1, timeout=PATIENCE)
            if not ready and not any(slot.loaded for slot in self.slots):
                self.say("still waiting for a worker: the cluster is busy, or the checkpoint takes long to load")
            for answer in ready:
                self._hear(self.waiting.pop(answer), answer)
            for slot in self.slots:
                if slot.loaded and slot.batch is None:
                    self._give(slot)

    def _start(self, slot: Slot) -> None:
        slot.actor, slot.loaded, slot.under = self.actor.remote(self.job), False, None
        self.waiting[slot.actor.load.remote()] = slot

    def _give(self, slot: Slot) -> None:
        """Give a free worker a batch, where there is any left."""
        assert self.list is not None
        busy = [one.under for one in self.slots if one.batch is not None and one.under is not None]
        if (batch := self.list.take(slot.under, busy)) is not None:
            slot.batch, slot.under = batch, self.runs[batch.run].under
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
        except errors.RayError as error:
            self._bury(slot, " ".join(str(error).split()[-REASON:]))
        else:
            if slot.batch is None:
                self._loaded(slot, found)
                return
            self.waiting[answer] = slot
            if isinstance(found, Measurement):
                self.results.store(slot.batch.run, found)
            else:
                self.results.record(slot.batch.run, found)

    def _loaded(self, slot: Slot, sizes: dict[int, int]) -> None:
        slot.loaded, slot.deaths = True, 0
        if self.list is None:
            work = {length: estimate.work(self.plan.checkpoint, length) for length in sizes}
            self.list = WorkList(self.runs, self.plan.todo, sizes, work.__getitem__)

    def _bury(self, slot: Slot, why: str) -> None:
        """Start a worker again that has died, and put back what it was measuring."""
        with suppress(Exception):  # it is gone, as it should be
            self.ray.kill(slot.actor, no_restart=True)
        if slot.batch is None:
            slot.deaths += 1
            if slot.deaths == MOST_DEATHS:
                self._give_up(slot, why)
                return
            self.say(f"worker {slot.number} died while it loaded the checkpoint; it is started again")
        else:
            self._put_back(slot, slot.batch)
            slot.batch = None
        self._start(slot)

    def _put_back(self, slot: Slot, batch: Batch) -> None:
        """Let others measure what a worker has died of; store as failed what has killed too many."""
        assert self.list is not None
        cells = [cell for cell in batch.cells if cell in self.results.left[batch.run]]
        what = title(self.runs[batch.run])
        self.say(f"worker {slot.number} died at {what}, {_these(cells)}; it is started again")
        for cell in self.list.died(batch, cells):
            self.say(f"{what}: {written(cell)} is given up; {MOST_DEATHS} workers died of it")
            error = f"{MOST_DEATHS} workers died while they measured it: too little memory, most likely"
            self.results.record(batch.run, {"kind": "session"})
            self.results.store(batch.run, Measurement(cell, error=error))

    def _give_up(self, slot: Slot, why: str) -> None:
        """Go on without a worker that cannot load the checkpoint. UserError where it was the last."""
        slot.actor, slot.loaded = None, False
        self.say(f"worker {slot.number} is given up: it died {MOST_DEATHS} times while it loaded the checkpoint")
        if all(one.actor is None for one in self.slots):
            raise UserError(
                "every worker died while it loaded the checkpoint; where memory is short, give fewer --workers. "
                f"Ray says: ... {why}"
            )


def _these(cells: Sequence[Cell]) -> str:
    return written(cells[0]) if len(cells) == 1 else counted(len(cells))
