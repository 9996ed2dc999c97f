"""How many workers a cluster has room for, and what each of them gets."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.memory import SHARE
from ssmax_eval.run.estimate import weight_bytes
from ssmax_eval.run.workers import Ray

THREADS = 4
"""Processor threads of a worker without a GPU, where OMP_NUM_THREADS does not say how many."""


class Crew(NamedTuple):
    """The workers of a command."""

    workers: int
    cpus: float
    """Processors that Ray sets apart for each."""
    gpus: float
    """GPUs that Ray sets apart for each."""
    threads: int
    share: float
    """Part of the memory of its device that is one worker's."""

    def __str__(self) -> str:
        count = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        each = f"{self.gpus:g} GPU" if self.gpus else "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{count} with {each}{' each' if self.workers > 1 else ''}"


def crew(checkpoint: Checkpoint, asked: Ray, nodes: Sequence[Mapping[str, float]]) -> Crew:
    """Return the workers for a checkpoint on machines with these resources, as Ray names them.

    UserError for what the cluster does not have.
    """
    gpus = _gpus(checkpoint, asked, nodes)
    cpus = sum(int(node.get("CPU", 0)) for node in nodes)
    if gpus:
        room = _room(nodes, {"GPU": gpus})
        if not room or (asked.workers or 0) > room:
            raise UserError(
                f"the cluster has room for {room} workers with {gpus:g} GPU each; given "
                f"{f'--workers {asked.workers}' if room else f'--gpus-per-worker {gpus:g}'}"
            )
        workers = asked.workers or room
        return Crew(workers, 0, gpus, max(1, cpus // workers), min(1.0, gpus))
    if asked.workers:
        workers = asked.workers
        fitting = (t for t in range(max(1, cpus // workers), 0, -1) if _room(nodes, {"CPU": t}) >= workers)
        threads = next(fitting, 0)
    else:
        most = max((int(node.get("CPU", 0)) for node in nodes), default=1)
        given = os.environ.get("OMP_NUM_THREADS", "")
        threads = max(1, min(int(given) if given.isdecimal() and int(given) else THREADS, most))
        weights = weight_bytes(checkpoint) / SHARE
        workers = max(1, _room(nodes, {"CPU": threads, "memory": weights}))
    each = max(1, max(_room([node], {"CPU": threads or 1}) for node in nodes)) if nodes else 1
    return Crew(workers, threads, 0, threads or 1, 1 / min(workers, each) if threads else 1 / workers)


def _gpus(checkpoint: Checkpoint, asked: Ray, nodes: Sequence[Mapping[str, float]]) -> float:
    """GPUs of each worker. UserError where the runs, as they were planned here, would not be those of a worker."""
    here = checkpoint.device_and_dtype.device
    some = any(node.get("GPU", 0) for node in nodes)
    gpus = asked.gpus_per_worker
    if gpus is None:
        gpus = 1.0 if some and checkpoint.device != "cpu" else 0.0
    if here.index is not None:
        raise UserError(f"Ray gives each worker its GPU; give --device {here.type}, not {checkpoint.device}")
    if gpus > 1 and not checkpoint.device_map:
        raise UserError(f"--gpus-per-worker {gpus:g} needs --device-map auto, which spreads a model over several GPUs")
    if gpus > 1 and gpus != int(gpus):
        raise UserError(f"--gpus-per-worker must be below 1, or a whole number; given {gpus:g}")
    if gpus and checkpoint.device == "cpu":
        raise UserError(f"--gpus-per-worker {gpus:g} and --device cpu cannot both be")
    if not gpus and here.type != "cpu":
        raise UserError("workers without a GPU measure on the processor: give --device cpu, or --gpus-per-worker")
    if gpus and here.type == "cpu" and checkpoint.dtype == "auto":
        raise UserError(
            "the workers have GPUs and this machine has none, so the precision must be said: give --dtype bfloat16, "
            "float16 or float32"
        )
    return gpus


def _room(nodes: Sequence[Mapping[str, float]], need: Mapping[str, float]) -> int:
    """How many workers find what they need, all of it on one machine each."""
    return sum(min(int(node.get(name, 0) / amount + 1e-9) for name, amount in need.items()) for node in nodes)
