"""What a bench has found so far, on disk: `bench.json`, whole after every comparison."""

import hashlib
import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import ssmax_eval
from benchmarks.measuring import Found
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.files import write_whole

FILE = "bench.json"


class Record:
    """A folder with the comparisons that are finished. UserError when it is that of another machine or checkpoint."""

    def __init__(self, folder: Path, machine: dict[str, Any]) -> None:
        self.folder, self.machine = folder, machine
        self.found: dict[str, Found] = {}
        self.date = time.strftime("%Y-%m-%d", time.gmtime())
        path = folder / FILE
        if not path.exists():
            return
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            found = {key: Found(**values) for key, values in stored["comparisons"].items()}
            theirs, date = stored["machine"], stored["date"]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise UserError(f"{str(path)!r} is no bench that can be read: {error}") from None
        if other := [name for name in machine if theirs.get(name) != machine[name]]:
            name = other[0]
            raise UserError(
                f"{str(folder)!r} holds a bench with another {name} ({theirs.get(name)!r}, here {machine[name]!r}); "
                "give another --output"
            )
        self.found, self.date = found, date

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
    """All that decides how fast a comparison runs; two benches can be put together only where it is the same."""
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
    """Digest of this package's source: what another version of it took says nothing of this one."""
    root = Path(ssmax_eval.__file__).parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        sha.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return sha.hexdigest()[:16]
