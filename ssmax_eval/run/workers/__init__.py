"""Many workers measure one plan: a Ray cluster, here or on many machines.

A worker is a process that holds one model. The driver, which is the process of the command, gives each free worker the
longest batch of cells that is left, and is the only one that writes. A worker that dies is started again, and what it
was measuring goes back on the list.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ray:
    """Which Ray cluster measures, and how many workers of which size it is asked for."""

    address: str = ""
    """`host:port` of a cluster's head, or "auto" for the one that runs on this machine; empty: start one here."""
    workers: int | None = None
    """Processes that hold a model each; None: as many as the cluster has room for."""
    gpus_per_worker: float | None = None
    """GPUs of each worker: a part of one, or several with a `device_map`; None: one where there are any, else none."""
