"""A Ray cluster: started here or joined, kept quiet, and left in order."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ssmax_eval.errors import UserError, shown

OBJECT_STORE = 1 << 27
"""Bytes of shared memory for what workers send, which is small; a container may have few."""
ANSWER = 10.0
"""Seconds in which the head of a cluster must answer."""


def ray_module() -> Any:
    """Return the module `ray`. UserError where it is not installed."""
    if find_spec("ray") is None:
        raise UserError("--ray needs Ray, which is not installed; try: pip install 'ssmax-eval[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported, as the next
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    return ray


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give the module `ray`, connected to the cluster at an address, or to one that is started here for the block.

    A connection that the process has already is used, and stays. UserError where no cluster answers.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield ray
        return
    where = {"address": _checked(address)} if address else {
        "address": "local", "num_cpus": processors(), "include_dashboard": False, "object_store_memory": OBJECT_STORE,
    }  # fmt: skip
    try:
        with _own_signals():
            ray.init(**where, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = " ".join(str(error).split())[:300]
        raise UserError(f"Ray cannot be {'joined at ' + shown(address) if address else 'started'}: {first}") from None
    _silence(ray)
    try:
        yield ray
    finally:
        with _own_signals():
            ray.shutdown()


def processors() -> int:
    """Return how many processors this process may use: those it is bound to, within the limit of its container."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max", encoding="ascii") as file:
            quota, period = file.read().split()
        return max(1, min(bound, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        return bound


def _checked(address: str) -> str:
    """The address of a cluster's head. UserError where it is none, or nothing answers; Ray itself tries for minutes."""
    if address == "auto":
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise UserError(f"the address of a Ray cluster is host:port, or auto; given {shown(address)}")
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"no Ray cluster answers at {shown(address)}: {error}; start one with `ray start --head`"
        ) from None
    return address


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what the process does on SIGTERM and SIGINT; Ray puts its own way in their place."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def _silence(ray: Any) -> None:
    """Keep Ray from printing to stdout that a worker died, which the driver says itself; no option does."""
    module: Any = getattr(getattr(ray, "_private", None), "worker", None)
    if hasattr(module, "print_to_stdstream"):
        module.print_to_stdstream = lambda *_, **__: None
