"""What a bench has found so far, on disk: `bench.json`, written whole after every comparison."""

import hashlib
import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch

import ssmax_eval
from benchmarks.measuring import Found
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.files import write_whole

FILE = "bench.json"


class Stored(NamedTuple):
    """What a `bench.json` says."""

    machine: dict[str, Any]
    """As from `machine`, of the machine that measured."""
    date: str
    """Day of the first comparison, as 2026-11-24."""
    found: dict[str, Found]
    """The comparisons by key."""


def read(folder: Path) -> Stored:
    """Read the bench in a folder, of whatever machine; UserError where there is none that can be read."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = {key: Found(**values) for key, values in content["comparisons"].items()}
        return Stored(dict(content["machine"]), str(content["date"]), found)
    except OSError as error:
        raise UserError(f"no bench in {str(folder)!r}: cannot read {FILE}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{str(path)!r} cannot be read as a bench: {error}") from None


class Record:
    """A folder with the comparisons that are finished."""

    def __init__(self, folder: Path, machine: dict[str, Any]) -> None:
        """Open a folder to add to it; UserError when it holds a bench of another machine or checkpoint."""
        self.folder, self.machine = folder, machine
        self.found: dict[str, Found] = {}
        self.date = time.strftime("%Y-%m-%d", time.gmtime())
        if not (folder / FILE).exists():
            return
        stored = read(folder)
        if other := [name for name in machine if stored.machine.get(name) != machine[name]]:
            name = other[0]
            raise UserError(
                f"{str(folder)!r} holds a bench with another {name} ({stored.machine.get(name)!r}, here "
                f"{machine[name]!r}); give another --output"
            )
        self.found, self.date = stored.found, stored.date

    def add(self, key: str, found: Found) -> None:
        """Write down a finished comparison; it is on the disk when this returns."""
        self.found[key] = found
        comparisons = {name: asdict(one) for name, one in self.found.items()}
        content = {"date": self.date, "machine": self.machine, "comparisons": comparisons}
        self.write(FILE, (json.dumps(content, indent=1) + "\n").encode())

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the folder, whole or not at all."""
        write_whole(self.folder / name, content)


def machine(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that decides how fast a comparison runs. Only where it is the same can two benches be put together."""
    device, dtype = checkpoint.device_and_dtype
    return {
        "checkpoint": checkpoint.label,
        "fingerprint": checkpoint.fingerprint[:16],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "dtype": str(dtype).removeprefix("torch."),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "code": _code(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _code() -> str:
    """Digest of the package's source: times of another version say nothing about this one."""
    root = Path(ssmax_eval.__file__).parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return sha.hexdigest()[:16]
