"""What runs in a worker: one model, and the cells that the driver asks for."""

import os
import pickle
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import torch
import transformers
from filelock import FileLock

from ssmax_eval import __version__
from ssmax_eval.errors import UserError
from ssmax_eval.files import cache_folder, writing
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.model import Model, running
from ssmax_eval.run import estimate
from ssmax_eval.run.identity import Run, Under
from ssmax_eval.run.measure import bind, fitting, shortest_chunk
from ssmax_eval.run.session import session
from ssmax_eval.run.workers.own_code import OwnCode, unpack
from ssmax_eval.tasks.base import Measure
from ssmax_eval.user_code import failure


class Job(NamedTuple):
    """What every worker of a command is told."""

    runs: bytes
    """The pickled runs; a batch names one of them by its number."""
    own: OwnCode
    """Without it, runs with attentions and tasks of the user's own cannot be unpickled."""
    folder: str
    """Where the command was given: relative paths begin there."""
    versions: Mapping[str, str]
    identities: Sequence[Any]
    """Of each run, what a worker must find as well; see `identity`."""
    lengths: Sequence[int]
    threads: int
    """Processor threads of one worker."""
    share: float
    """Part of the device's memory that is one worker's."""
    batch_size: int | None = None
    prefill_chunk: int | None = None
    offload_cache: str = "auto"


def versions() -> dict[str, str]:
    """Return the versions that all workers must have, without the build of torch."""
    return {
        "ssmax-eval": __version__,
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
    }


def identity(run: Run) -> Any:
    """Return what decides a run's numbers and can differ between machines: the checkpoint's files, and the texts."""
    return run.checkpoint.identity(), run.task.settings()


class Worker:
    """One model, which measures what it is asked for."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.runs: list[Run] = []
        self.open = ExitStack()
        self.under: Under | None = None
        self.model: Model | None = None
        self.bound: dict[int, Measure] = {}
        self.shrunk: dict[int, dict[str, dict[str, int]]] = {}
        self.own_folder = ""

    def load(self) -> dict[int, int]:
        """Load the checkpoint; return how many cells of each length to measure together.

        What is converted or fetched is so once a machine. UserError where this machine would give other numbers.
        """
        with suppress(OSError):  # another machine may not have this folder
            os.chdir(self.job.folder)
        torch.set_num_threads(self.job.threads)
        if (here := versions()) != self.job.versions:
            raise UserError(f"{platform.node()} has {_listed(here)}; the driver has {_listed(self.job.versions)}")
        with _one_at_a_time():
            self.own_folder = unpack(self.job.own)
            self.runs = pickle.loads(self.job.runs)
            for run, expected in zip(self.runs, self.job.identities, strict=True):
                if identity(run) != expected:
                    raise UserError(
                        f"{run.checkpoint.name!r}, or a text of task {run.task.name!r}, has another content on "
                        f"{platform.node()} than on the driver's machine"
                    )
        checkpoint = self.runs[0].checkpoint
        self.hf = checkpoint.load()
        if self.job.batch_size is not None:
            return dict.fromkeys(self.job.lengths, self.job.batch_size)
        return {n: estimate.batch_size(checkpoint, n, self.job.share) for n in self.job.lengths}

    def measure(
        self, number: int, cells: Sequence[Cell], size: int, careful: bool = False
    ) -> Iterator[Measurement | dict[str, Any]]:
        """Measure cells of one length, and yield each as soon as it is finished.

        The first thing that is yielded is the record of this session; where memory ran out, one of that is the last.
        `careful`: the model reads in the shortest chunks.
        """
        run, length = self.runs[number], cells[0].context_length
        try:
            model = self._running(run)
            bound = self.bound[number] if number in self.bound else self.bound.setdefault(number, bind(run, model))
            shrunk = self.shrunk.setdefault(number, {})
            known = dict(shrunk.get(str(length), {}))  # what was too large for memory is not tried again
            model.prefill_chunk = known.get("prefill_chunk", self.job.prefill_chunk)
            model.offload_cache = "on" if known.get("offload_cache") else self.job.offload_cache
            yield {"kind": "session", **session(run, model, {length: size})}
            if careful:
                shortest_chunk(model, length)
            yield from fitting(run.task, bound, model, cells, min(size, known.get("batch_size", size)), shrunk)
            if (now := shrunk.get(str(length), {})) != known:
                yield {"kind": "out_of_memory", "out_of_memory": {str(length): dict(now)}}
        except Exception as error:
            if not isinstance(error, UserError) and (own := failure(error)):
                raise UserError(f"your own code fails: {own.removeprefix(self.own_folder)}") from None
            raise

    def _running(self, run: Run) -> Model:
        """The model under what a run has it run, which the canary has passed. The weights stay in memory."""
        if self.model is None or self.under != run.under:
            self.model = None
            self.bound.clear()
            self.open.close()
            self.model = self.open.enter_context(running(run.checkpoint, self.hf, *run.under))
            self.under = run.under
        return self.model


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one process of this machine pass at a time; a process that dies makes way."""
    with writing(cache_folder()):
        cache_folder().mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache_folder() / "workers.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
