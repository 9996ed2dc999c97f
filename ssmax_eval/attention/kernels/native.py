"""The kernel of `normalised.cpp`, built once for a machine by its own C++ compiler, where there is one."""

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import pad

from ssmax_eval.errors import UserError
from ssmax_eval.files import cache_folder, write_whole

SOURCE = Path(__file__).with_name("normalised.cpp")


@cache
def library() -> ctypes.CDLL | None:
    """Return the kernel, or None without a working compiler. It is built at the first call (seconds) and kept.

    The compiler is $CXX, else the first of c++, g++ and clang++ that is found.
    """
    named = os.environ.get("CXX")
    compiler = next(filter(None, map(shutil.which, [named] if named else ["c++", "g++", "clang++"])), None)
    if compiler is None:
        return None
    try:
        return ctypes.CDLL(str(_built(compiler)))
    except (OSError, UserError, subprocess.SubprocessError) as error:
        logging.getLogger(__name__).warning("no compiled kernel, LSSA and LSSAR run slower: %s", error)
        return None


def _built(compiler: str) -> Path:
    """Return the library for this source, this compiler and this processor."""
    flags = ["-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-pthread"]
    target = [compiler, "-march=native", "-dM", "-E", "-x", "c++", os.devnull]
    macros = subprocess.run(target, check=True, capture_output=True, timeout=60).stdout
    name = hashlib.sha256(SOURCE.read_bytes() + " ".join(flags).encode() + macros).hexdigest()[:16]
    path = cache_folder() / "kernels" / f"{name}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch) / path.name
            command = [compiler, *flags, str(SOURCE), "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            write_whole(path, made.read_bytes())
    return path


def attend(kernel: ctypes.CDLL, query: Tensor, key: Tensor, value: Tensor, soft: bool, p: int | None) -> Tensor:
    """Return what `normalised.attend` does, by the compiled kernel."""
    batch, heads, rows, depth = query.shape
    groups, keys, width = value.shape[1:]
    panel, wide = kernel.panel(), width + -width % 16
    key = pad(key, (0, 0, 0, -keys % panel)).reshape(batch, groups, -1, panel, depth).transpose(3, 4)
    value = pad(value, (0, -width % panel)).reshape(batch, groups, keys, -1, panel).transpose(2, 3)
    output = query.new_empty(batch, heads, rows, wide)
    kept = [x.contiguous() for x in (query, key, value, output)]
    kernel.attend(
        *(ctypes.c_void_p(x.data_ptr()) for x in kept),
        *(batch * heads, heads // groups, rows, keys, depth, wide),
        *(int(soft), p or 0, torch.get_num_threads()),
    )
    return output[..., :width]
